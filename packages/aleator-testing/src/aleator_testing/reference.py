"""A correct estimator on the core alone, written to be read: what the contract asks of an estimator, step by step.

``ReferenceBound`` has one method per step, so that a broken twin can break exactly one of them.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, final

import torch
from torch import Tensor

from aleator.errors import UnsupportedModelError
from aleator.handlers import Messenger, plate, replay, trace
from aleator.infer import AbstractEstimator, Capabilities, Estimate, Factor, analyse, density
from aleator.infer.checks import check_match, check_shapes
from aleator.runtime import Run

if TYPE_CHECKING:
    from aleator.sites import PlateFrame, Site
    from aleator.trace import Trace

__all__ = ["MeanBound", "Particle", "ReferenceBound", "ReferenceELBO", "sum_to"]

Program = Callable[..., Any]
PARTICLES = "particles_of_the_reference"


class Particle(NamedTuple):
    """What one particle adds, over the plates common to all sites; vectorized particles have theirs on dim 0.

    Attributes:
        log_weight: log p - log q, with the graph along the draws.
        surrogate: what the gradient of the mean bound is taken of.
        score: the sum of log q of the draws that have no path.
        sites: log p - log q by site, detached.
        common: the plates that are around every site.
    """

    log_weight: Tensor
    surrogate: Tensor
    score: Tensor
    sites: Mapping[str, Tensor]
    common: frozenset[PlateFrame]


@dataclass(frozen=True, repr=False)
class ReferenceBound(AbstractEstimator, ABC):
    """A bound on the evidence from K particles: abstract in how the particles become one number.

    Args:
        num_particles: K, how many draws of the guide one estimate takes.
        max_plate_nesting: how many tensor dims plates take; found by a run of the programs where it is infinite.
        vectorize_particles: run the particles as one tensor dim, left of all plates.

    Raises:
        ValueError: ``num_particles`` below 1.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        non_reparam=True, vectorized_particles=True, gradient_rules=frozenset({"pathwise", "score"})
    )
    num_particles: int = 1
    max_plate_nesting: float = math.inf
    vectorize_particles: bool = False

    def __post_init__(self) -> None:
        if not isinstance(self.num_particles, int) or self.num_particles < 1:
            raise ValueError(f"num_particles must be a positive int, but is {self.num_particles!r}")

    @abstractmethod
    def reduce(self, log_weight: Tensor, surrogate: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
        """Fold the particles, which are on dim 0, into the bound and its surrogate."""

    def estimate(self, model: Program, guide: Program, /, *args: Any, **kwargs: Any) -> Estimate:  # noqa: ANN401  # the programs' own
        """Run the pair once per particle, or once for all; return minus the bound. Nothing is written anywhere."""
        with Run():
            if self.vectorize_particles and self.num_particles > 1:
                particle = self.particle(*self.run_vectorized(model, guide, args, kwargs))
                stacked: Sequence[Tensor] = [each.expand(self.num_particles, *each.shape[1:]) for each in particle[:3]]
                parts = [particle]
            else:
                parts = [self.particle(*pair) for pair in self.run_looped(model, guide, args, kwargs)]
                stacked = [torch.stack(torch.broadcast_tensors(*each)) for each in zip(*(p[:3] for p in parts))]  # type: ignore[no-untyped-call]  # noqa: B905  # torch's; one tuple type
        bound, surrogate = self.reduce(*stacked)
        scale = self.common_scale(parts[0].common)
        names = parts[0].sites
        aux = {f"elbo/{name}": torch.stack([p.sites[name] for p in parts]).sum() / self.num_particles for name in names}
        return Estimate(-scale * bound.detach().sum(), -scale * surrogate.sum(), aux)

    # -- Running the pair: the guide draws, the model is replayed against it ------------------------------------------

    def run_pair(self, model: Program, guide: Program, args: Any, kwargs: Any) -> tuple[Trace, Trace]:  # noqa: ANN401  # theirs
        """Return the traces of the model and of the guide, checked against each other and against what is declared."""
        with _DetachScoredDraws(), trace() as guide_trace:
            guide(*args, **kwargs)
        with trace() as model_trace, replay(trace=guide_trace):
            model(*args, **kwargs)
        check_match(model_trace, guide_trace)
        check_shapes(guide_trace, "guide")
        check_shapes(model_trace, "model")
        for site in (*guide_trace.nodes.values(), *model_trace.nodes.values()):
            self.refuse_unsupported(site)
        return model_trace, guide_trace

    def run_looped(self, model: Program, guide: Program, args: Any, kwargs: Any) -> Iterable[tuple[Trace, Trace]]:  # noqa: ANN401  # theirs
        """Run one pair per particle; all particles see the minibatch of the first."""
        first = self.run_pair(model, guide, args, kwargs)
        yield first
        for _ in range(self.num_particles - 1):
            with self.shared_minibatch(first):
                pair = self.run_pair(model, guide, args, kwargs)
            yield pair

    def shared_minibatch(self, first: tuple[Trace, Trace]) -> Messenger:
        """Return the handler under which the particles after the first are run."""
        return _SameMinibatch(first)

    def run_vectorized(self, model: Program, guide: Program, args: Any, kwargs: Any) -> tuple[Trace, Trace]:  # noqa: ANN401  # theirs
        """Run all particles as one pair, under a plate to the left of all others."""
        nesting = self.max_plate_nesting
        if math.isinf(nesting):
            nesting = analyse(model, guide, *args, **kwargs).nesting
        particles = plate(PARTICLES, self.num_particles, dim=-(int(nesting) + 1))
        return self.run_pair(particles(model), particles(guide), args, kwargs)

    def refuse_unsupported(self, site: Site) -> None:
        """Refuse what a site asks for and ``capabilities`` does not declare."""
        able = self.capabilities
        rule = site.infer.get("gradient") if site.type == "sample" and not site.is_observed else None
        if site.type == "sample" and site.infer.get("enumerate") and not able.enumeration:
            raise UnsupportedModelError(f"site {site.name!r} asks for enumeration (capability 'enumeration')")
        if rule is not None and rule not in able.gradient_rules:
            raise UnsupportedModelError(f"site {site.name!r} asks for {rule!r} (capability 'gradient_rules')")
        if rule == "pathwise" and not site.fn.has_rsample:
            raise UnsupportedModelError(f"site {site.name!r} asks for 'pathwise', but its draws have no path")

    # -- From traces to numbers ---------------------------------------------------------------------------------------

    def particle(self, model_trace: Trace, guide_trace: Trace) -> Particle:
        """Return a particle's terms: log p - log q, a surrogate with the right gradient, and the score."""
        model, guide = self.densities(model_trace, guide_trace)
        signed = [*((1.0, factor) for factor in model.values()), *((-1.0, factor) for factor in guide.values())]
        plates = [{frame for frame in factor.frames if frame.dim is not None} for _, factor in signed]
        common = frozenset(set.intersection(*plates)) if plates else frozenset()
        dims = {frame.dim for frame in common if frame.dim is not None}
        terms = [(factor, sign * self.scaled(factor, factor.log_prob, common)) for sign, factor in signed]
        log_weight = surrogate = score = torch.zeros((1,) * max((-dim for dim in dims), default=0))
        sites: dict[str, Tensor] = {}
        for factor, term in terms:
            own = sum_to(term, dims)
            log_weight = log_weight + own
            sites[factor.name] = sites.get(factor.name, torch.zeros(())) + own.detach().sum() * self.common_scale(
                common
            )
            if factor.score is None:  # data, a model's latent site, or a draw along its path
                surrogate = surrogate + own
            else:  # log q enters through the draw's probability alone: E[score * cost]
                surrogate = surrogate + sum_to(self.score_of(factor) * self.cost(factor, terms), dims)
                score = score + sum_to(factor.score, dims)
        return Particle(log_weight, surrogate, score, sites, common)

    def densities(self, model_trace: Trace, guide_trace: Trace) -> tuple[Mapping[str, Factor], Mapping[str, Factor]]:
        """Return what each site adds to log p and to log q."""
        return density(model_trace), density(guide_trace)

    def scaled(self, factor: Factor, log_prob: Tensor, common: Collection[PlateFrame]) -> Tensor:
        """Apply the handlers' scale and that of subsampled plates; the common plates' is applied to the whole bound."""
        return log_prob * (factor.scale * math.prod(frame.scale for frame in factor.frames if frame not in common))

    def common_scale(self, common: Collection[PlateFrame]) -> float:
        """Return the scale of the plates around all sites: it multiplies the bound from outside."""
        return math.prod(frame.scale for frame in common)

    def score_of(self, factor: Factor) -> Tensor:
        """Return log q of a draw, neither scaled nor masked: those say what counts, not what was drawn."""
        assert factor.score is not None
        return factor.score

    def cost(self, factor: Factor, terms: Iterable[tuple[Factor, Tensor]]) -> Tensor | float:
        """Return log p - log q of what a draw may have caused: the elements of its own plates are kept apart.

        An element of a plate cannot cause anything in another element; plates that the draw is not in are summed.
        """
        turns = {frame.name: frame.counter for frame in factor.frames if frame.dim is None}
        total: Tensor | float = 0.0
        for other, term in terms:
            if all(
                turns.get(frame.name, frame.counter) == frame.counter for frame in other.frames if frame.dim is None
            ):
                shared = {frame.dim for frame in other.frames & factor.frames if frame.dim is not None}
                total = total + sum_to(term.detach(), shared)
        return total


@dataclass(frozen=True, repr=False)
class MeanBound(ReferenceBound, ABC):
    """The evidence lower bound: the mean over the particles, of the values and of the surrogates."""

    def reduce(self, log_weight: Tensor, surrogate: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
        """Return the means over dim 0."""
        return log_weight.mean(0), surrogate.mean(0)


@final
@dataclass(frozen=True)
class ReferenceELBO(MeanBound):
    """The evidence lower bound, pathwise where draws have a path, by the score function elsewhere.

    Arguments are those of ``ReferenceBound``.

    Example:
        >>> import aleator
        >>> import aleator.distributions as dist
        >>> def program():
        ...     aleator.sample("z", dist.Normal(0.0, 1.0))
        >>> ReferenceELBO(num_particles=2).loss(program, program)
        0.0
    """


def sum_to(value: Tensor, dims: Collection[int]) -> Tensor:
    """Sum over all dims but those named from the right; what is kept stays at its place."""
    drop = [dim for dim in range(-value.dim(), 0) if dim not in dims]
    if drop:
        value = value.sum(drop, keepdim=True)
    width = min(value.dim(), max((-dim for dim in dims), default=0))
    return value.reshape(value.shape[value.dim() - width :])


@final
class _DetachScoredDraws(Messenger):
    """A draw whose site asks for the score function has no path, whatever its distribution could do."""

    def postprocess_sample(self, site: Site) -> None:
        if site.infer.get("gradient") == "score" and not site.is_observed:
            site.value = site.value.detach()


@final
class _SameMinibatch(Messenger):
    """Plates that draw their minibatch get the one that the first particle saw."""

    def __init__(self, pair: Iterable[Trace]) -> None:
        found = (site for run in pair for site in run.nodes.values() if site.type == "subsample")
        self.indices = {site.name: site.value for site in found}

    def process_subsample(self, site: Site) -> None:
        if site.value is None and site.name in self.indices:
            site.value, site.done = self.indices[site.name], True
