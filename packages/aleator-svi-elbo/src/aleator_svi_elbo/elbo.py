"""The driver that estimators of a bound share, and the front door to the official ones."""

from __future__ import annotations

import math
import warnings
from abc import ABCMeta
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any, ClassVar, cast

import torch
from torch import Tensor

from aleator.infer import AbstractEstimator, Estimate
from aleator.infer.structure import annotate
from aleator.runtime import Run
from aleator_svi_elbo.baselines import refuse_baselines
from aleator_svi_elbo.draw_densities import attach_draw_densities
from aleator_svi_elbo.particle_terms import MeanTerms, ParticleTerms, common_plates_of_traces, trace_terms
from aleator_svi_elbo.tracing import Pair, entered, trace_looped, trace_pair, trace_vectorized

if TYPE_CHECKING:
    from aleator.messenger import Messenger
    from aleator.trace import Trace
    from aleator_svi_elbo.loss_module import LossModule

__all__ = ["ELBO"]

Program = Callable[..., Any]


class _FrontDoor(ABCMeta):
    """Lets ``ELBO(...)`` itself answer with an official estimator, by its registered name."""

    def __call__(cls, *args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # the estimator asked for
        if cls.__dict__.get("is_front_door", False):
            return _official(*args, **kwargs)
        return super().__call__(*args, **kwargs)


def _official(
    num_particles: int = 1,
    trace_graph: bool = False,
    enum_discrete: bool = False,
    **options: Any,  # noqa: ANN401  # the common keywords of the estimators
) -> Any:  # noqa: ANN401  # the estimator asked for
    from aleator.infer import get_estimator

    if trace_graph and enum_discrete:
        raise ValueError(
            "ELBO: trace_graph and enum_discrete exclude each other; TraceEnum_ELBO sums discrete sites out"
        )
    name = "TraceGraph_ELBO" if trace_graph else "TraceEnum_ELBO" if enum_discrete else "Trace_ELBO"
    return cast("Any", get_estimator(name))(num_particles, **options)


@dataclass(frozen=True, repr=False)
class ELBO(AbstractEstimator, metaclass=_FrontDoor):
    """An estimator of a bound on the evidence: abstract, and the front door to the official ones.

    ``ELBO()``, ``ELBO(trace_graph=True)`` and ``ELBO(enum_discrete=True)`` give ``Trace_ELBO``, ``TraceGraph_ELBO`` and
    ``TraceEnum_ELBO``. A subclass writes ``particle_terms``, ``reduce`` or both; the driver runs the particles, in a
    loop or as one tensor dim, checks the programs, applies the scale of the plates common to all sites, sums and
    negates. All particles of one estimate see the same subsample.

    Args:
        num_particles: how many samples of the guide one estimate takes.
        max_plate_nesting: how many tensor dims plates take; guessed by a run of the programs where it is needed.
        max_iarange_nesting: deprecated name of ``max_plate_nesting``.
        vectorize_particles: run the particles as one tensor dim, left of all plates.
        strict_enumeration_warning: warn where an enumerating estimator finds nothing to enumerate.
        ignore_jit_warnings: accepted for programs from peers; captured steps give no such warnings here.
        retain_graph: keep the autograd graph after ``loss_and_grads``.

    Raises:
        ValueError: ``num_particles`` below 1, or a nesting below 0.

    Example:
        >>> from aleator.infer import ELBO
        >>> ELBO(num_particles=3)
        Trace_ELBO(num_particles=3)
    """

    is_front_door = True
    needs_structure: ClassVar[bool] = False
    """Whether ``particle_terms`` looks at ``site.stash[SITE_STRUCTURE]``: on which values each site depends."""
    takes_baselines: ClassVar[bool] = False
    """Whether ``particle_terms`` reads ``infer["baseline"]`` of the guide's sites; else such a site is refused."""

    draws_follow: ClassVar[bool] = False
    """Whether the terms are differentiated with respect to parameters alone, never with respect to a draw of the guide
    by itself: log q of a large draw then has a smaller graph."""

    num_particles: int = 1
    max_plate_nesting: float = math.inf
    max_iarange_nesting: int | None = None
    vectorize_particles: bool = False
    strict_enumeration_warning: bool = True
    ignore_jit_warnings: bool = False
    retain_graph: bool | None = None

    def __init_subclass__(cls, **kwargs: Any) -> None:  # noqa: ANN401  # whatever a subclass passes on
        super().__init_subclass__(**kwargs)
        cls.is_front_door = False

    def __post_init__(self) -> None:
        name = type(self).__name__
        if self.max_iarange_nesting is not None:
            warnings.warn(
                "max_iarange_nesting is deprecated; write max_plate_nesting", DeprecationWarning, stacklevel=3
            )
            object.__setattr__(self, "max_plate_nesting", self.max_iarange_nesting)
            object.__setattr__(self, "max_iarange_nesting", None)
        if isinstance(self.num_particles, bool) or not isinstance(self.num_particles, int) or self.num_particles < 1:
            raise ValueError(f"{name}: num_particles must be a positive int, but is {self.num_particles!r}")
        nesting = self.max_plate_nesting
        if nesting != math.inf and (isinstance(nesting, bool) or not isinstance(nesting, int) or nesting < 0):
            raise ValueError(f"{name}: max_plate_nesting must be an int of at least 0, or math.inf, but is {nesting!r}")

    def particle_terms(self, model_trace: Trace, guide_trace: Trace) -> ParticleTerms:
        """Return what one particle contributes: a pure function of the traces; override it to change the terms."""
        return trace_terms(model_trace, guide_trace)

    def trace_particle(
        self,
        model: Program,
        guide: Program,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
        around: Sequence[Messenger] = (),
    ) -> tuple[Pair, ...]:
        """Run the programs for one particle; override it to run them under other handlers, or several times.

        Args:
            model, guide: the programs.
            args, kwargs: their arguments.
            around: handlers to enter around each run of a program, as the plate of vectorized particles.

        Returns:
            The runs that make up the particle, whose terms are added up: here one.
        """
        pair = trace_pair(self, model, guide, args, kwargs, around)
        if self.needs_structure:
            with entered(around):
                annotate(model, guide, args, kwargs, *pair)
        return (pair,)

    def after_guide(self, guide_trace: Trace) -> None:
        """Look at a particle's draws before the model sees them; override it to mark or replace them in the trace."""

    def reduce(self, terms: ParticleTerms) -> tuple[Tensor, Tensor]:
        """Fold the particles into ``(bound, surrogate)``; override it to change the objective.

        Args:
            terms: the particles' terms, stacked on dim 0; the plates common to all sites keep their dims.

        Returns:
            The bound and its surrogate without dim 0; here the means.
        """
        bound = terms.log_weight.mean(0)
        return bound, bound if terms.surrogate is terms.log_weight else terms.surrogate.mean(0)

    def estimate(self, model: Program, guide: Program, /, *args: Any, **kwargs: Any) -> Estimate:  # noqa: ANN401  # any
        """Run the particles and return minus the bound."""
        with Run():
            if self.num_particles > 1 and self.vectorize_particles:
                pairs = trace_vectorized(self, model, guide, args, kwargs)
                return self._fold(_as_stack(self._terms(pairs), self.num_particles), pairs[0])
            terms = []
            for pairs in trace_looped(self, model, guide, args, kwargs):
                terms.append(self._terms(pairs))
            if self.num_particles == 1 and type(self).reduce is ELBO.reduce:
                return _estimate(terms[0], terms[0].log_weight, terms[0].surrogate, pairs[0])
            return self._fold(_stack(terms), pairs[0])

    def estimates(self, model: Program, guide: Program, /, *args: Any, **kwargs: Any) -> Iterator[Estimate]:  # noqa: ANN401  # the programs' own arguments
        """Yield one estimate per looped particle where the bound is their mean, so that each is freed in turn."""
        count = self.num_particles
        if count == 1 or self.vectorize_particles or type(self).reduce is not ELBO.reduce:
            yield self.estimate(model, guide, *args, **kwargs)
            return
        for pairs in trace_looped(self, model, guide, args, kwargs, freeing=True):
            terms = self._terms(pairs)
            part = _estimate(terms, terms.log_weight, terms.surrogate, pairs[0])
            aux = MeanTerms([part.aux], count, is_whole=False)
            yield Estimate(part.loss / count, part.surrogate / count, aux, part.updates)

    def __call__(self, model: Program, guide: Program, *example_args: Any, **kwargs: Any) -> LossModule:  # noqa: ANN401  # the programs' own arguments
        """Return a torch module whose forward is the differentiable loss, and whose parameters are the programs'."""
        from aleator_svi_elbo.loss_module import LossModule

        return LossModule(self, model, guide, example_args, kwargs)

    def _terms(self, pairs: Sequence[Pair]) -> ParticleTerms:
        if not self.takes_baselines:
            refuse_baselines(type(self).__name__, pairs[0].guide_trace)
        if self.draws_follow and torch.is_grad_enabled():
            for pair in pairs:
                attach_draw_densities(pair.guide_trace)
        terms = self.particle_terms(*pairs[0])
        for pair in pairs[1:]:
            terms = _sum(terms, self.particle_terms(*pair))
        return terms

    def _fold(self, terms: ParticleTerms, pair: Pair) -> Estimate:
        return _estimate(terms, *self.reduce(terms), pair)

    def __repr__(self) -> str:
        stated = [(field.name, getattr(self, field.name), field.default) for field in fields(self)]
        shown = ", ".join(f"{name}={value!r}" for name, value, default in stated if value != default)
        return f"{type(self).__name__}({shown})"


def _estimate(terms: ParticleTerms, bound: Tensor, surrogate: Tensor, pair: Pair) -> Estimate:
    """Apply the scale of the plates common to all sites, sum over them, and negate."""
    plates = common_plates_of_traces(*pair) if terms.plates is None else terms.plates
    scale = math.prod(frame.scale for frame in plates) * terms.scale
    total = surrogate.sum() if surrogate.dim() else surrogate
    total = -total if scale == 1.0 else total * -scale
    loss = total.detach() if bound is surrogate else bound.detach().sum() * -scale
    return Estimate(loss, total, terms.sites, terms.updates)


def _stack(terms: list[ParticleTerms]) -> ParticleTerms:
    """Stack the looped particles on a new dim 0."""
    if len(terms) == 1:
        only = terms[0]
        weight = only.log_weight.unsqueeze(0)
        surrogate = weight if only.surrogate is only.log_weight else only.surrogate.unsqueeze(0)
        scores = {rule: each.unsqueeze(0) for rule, each in only.scores.items()}
        return only._replace(log_weight=weight, surrogate=surrogate, score=only.score.unsqueeze(0), scores=scores)
    weights, surrogates, own_scores, sites, updates, *_ = zip(*terms, strict=True)
    stacked = _stack_broadcast(weights)
    own = [term.surrogate is term.log_weight for term in terms]
    return ParticleTerms(
        stacked,
        stacked if all(own) else _stack_broadcast(surrogates),
        _stack_broadcast(own_scores),
        MeanTerms(sites, len(terms)),
        _mean(updates),
        {rule: _stack_broadcast(tuple(each.scores[rule] for each in terms)) for rule in terms[0].scores},
        terms[0].scale,
        terms[0].plates,
    )


def _sum(left: ParticleTerms, right: ParticleTerms) -> ParticleTerms:
    """Add up two runs of one particle."""
    log_weight = left.log_weight + right.log_weight
    own = left.surrogate is left.log_weight and right.surrogate is right.log_weight
    surrogate = log_weight if own else left.surrogate + right.surrogate
    sites = MeanTerms([left.sites, right.sites], 1)
    return left._replace(
        log_weight=log_weight,
        surrogate=surrogate,
        score=left.score + right.score,
        sites=sites,
        updates={**left.updates, **right.updates},
        scores={rule: left.scores[rule] + right.scores[rule] for rule in left.scores},
    )


def _stack_broadcast(tensors: tuple[Tensor, ...]) -> Tensor:
    return torch.stack(torch.broadcast_tensors(*tensors))  # type: ignore[no-untyped-call]  # torch's


def _as_stack(terms: ParticleTerms, count: int) -> ParticleTerms:
    """Give vectorized particles, whose dim is the leftmost already, the form of stacked ones."""
    weight, surrogate, score = (t.expand(count) if t.dim() == 0 else t for t in terms[:3])
    if terms.surrogate is terms.log_weight:
        surrogate = weight
    scores = {rule: each.expand(count) if each.dim() == 0 else each for rule, each in terms.scores.items()}
    sites = MeanTerms([terms.sites], count)
    return terms._replace(log_weight=weight, surrogate=surrogate, score=score, sites=sites, scores=scores)


def _mean(updates: tuple[Mapping[str, Tensor], ...]) -> Mapping[str, Tensor]:
    """Average the particles' next values: each particle has read the old ones."""
    names = dict.fromkeys(name for each in updates for name in each)
    return {name: torch.stack([each[name] for each in updates if name in each]).mean(0) for name in names}
