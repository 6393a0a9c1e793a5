"""Mutants whose value is right and whose gradient is wrong."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, ClassVar, final

import torch
from torch import Tensor

import aleator.distributions as dist
from aleator.handlers import Messenger
from aleator.infer import Capabilities, Factor
from aleator_testing.mutants.mutant import Mutant
from aleator_testing.reference import MeanBound, sum_to

if TYPE_CHECKING:
    from aleator.sites import Site
    from aleator.trace import Trace

__all__ = ["MUTANTS"]

Program = Callable[..., Any]
Densities = tuple[Mapping[str, Factor], Mapping[str, Factor]]
Terms = Iterable[tuple[Factor, Tensor]]


@final
@dataclass(frozen=True)
class ZeroGradient(MeanBound):
    """The gradient is 0: an estimator that only looks as if it worked."""

    def reduce(self, log_weight: Tensor, surrogate: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
        return log_weight.mean(0), surrogate.mean(0) * 0.0


@final
@dataclass(frozen=True)
class FlippedSign(MeanBound):
    """The gradient climbs where it should descend."""

    def reduce(self, log_weight: Tensor, surrogate: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
        return log_weight.mean(0), -surrogate.mean(0)


@final
@dataclass(frozen=True)
class GradientSummed(MeanBound):
    """The gradient of K particles is their sum: 1/K is missing."""

    def reduce(self, log_weight: Tensor, surrogate: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
        return log_weight.mean(0), surrogate.sum(0)


@final
@dataclass(frozen=True)
class VectorizedGradientSummed(MeanBound):
    """1/K is missing from the gradient, of vectorized particles only."""

    def reduce(self, log_weight: Tensor, surrogate: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
        return log_weight.mean(0), surrogate.sum(0) if self.vectorize_particles else surrogate.mean(0)


@final
@dataclass(frozen=True)
class EntropyDropped(MeanBound):
    """log q along a path is not differentiated: the guide's variance collapses."""

    def densities(self, model_trace: Trace, guide_trace: Trace) -> Densities:
        model, guide = super().densities(model_trace, guide_trace)
        return model, {
            name: f if f.score is not None else replace(f, log_prob=f.log_prob.detach()) for name, f in guide.items()
        }


@final
@dataclass(frozen=True)
class PathDropped(MeanBound):
    """Draws that have a path are detached, and have no score either."""

    def run_pair(self, model: Program, guide: Program, args: Any, kwargs: Any) -> tuple[Trace, Trace]:  # noqa: ANN401  # theirs
        return super().run_pair(model, _Detached(everything=True)(guide), args, kwargs)


@final
@dataclass(frozen=True)
class ImplicitPathDropped(MeanBound):
    """Paths are followed through a location and a scale only: Beta and Gamma draws lose theirs."""

    def run_pair(self, model: Program, guide: Program, args: Any, kwargs: Any) -> tuple[Trace, Trace]:  # noqa: ANN401  # theirs
        return super().run_pair(model, _Detached(everything=False)(guide), args, kwargs)


@final
class _Detached(Messenger):
    def __init__(self, everything: bool) -> None:
        self.everything = everything

    def postprocess_sample(self, site: Site) -> None:
        if not site.is_observed and (self.everything or isinstance(site.fn, (dist.Beta, dist.Gamma))):
            site.value = site.value.detach()


@final
@dataclass(frozen=True)
class ScoreDropped(MeanBound):
    """Draws without a path have no score term."""

    def score_of(self, factor: Factor) -> Tensor:
        return super().score_of(factor) * 0.0


@final
@dataclass(frozen=True)
class ScoreScaled(MeanBound):
    """The score is multiplied by the site's scale, and by its minibatch's (pyro#531)."""

    def score_of(self, factor: Factor) -> Tensor:
        return super().score_of(factor) * factor.scale * factor.plate_scale


@final
@dataclass(frozen=True)
class ScoreMasked(MeanBound):
    """A masked draw has no score term, though data depend on it (pyro#3255)."""

    def score_of(self, factor: Factor) -> Tensor:
        score = super().score_of(factor)
        return score if factor.mask is None else score * torch.as_tensor(factor.mask)


@final
@dataclass(frozen=True)
class OwnCostLeftOut(MeanBound):
    """A draw does not answer for its own log p - log q."""

    def cost(self, factor: Factor, terms: Terms) -> Tensor | float:
        return super().cost(factor, [(other, term) for other, term in terms if other.name != factor.name])


@final
@dataclass(frozen=True)
class DataCostLeftOut(MeanBound):
    """A draw answers for its own terms only, not for the data's."""

    def cost(self, factor: Factor, terms: Terms) -> Tensor | float:
        return super().cost(factor, [(other, term) for other, term in terms if other.name == factor.name])


@final
@dataclass(frozen=True)
class PlateSlicesMixed(MeanBound):
    """An element of a plate answers for its neighbour's costs."""

    def cost(self, factor: Factor, terms: Terms) -> Tensor | float:
        total = super().cost(factor, terms)
        return total.flip(-1) if isinstance(total, Tensor) and total.dim() else total


@final
@dataclass(frozen=True)
class CostsByDim(MeanBound):
    """Costs are kept apart by tensor dim, not by plate: two plates at one dim are taken for one."""

    def cost(self, factor: Factor, terms: Terms) -> Tensor | float:
        dims = {frame.dim for frame in factor.frames if frame.dim is not None}
        total: Tensor | float = 0.0
        for other, term in terms:
            own = {frame.dim for frame in other.frames if frame.dim is not None}
            total = total + sum_to(term.detach(), own & dims)
        return total


@final
@dataclass(frozen=True)
class LoopCostsOutsideLeftOut(MeanBound):
    """A draw in a loop's turn answers for its own turn only, not for what comes after the loop."""

    def cost(self, factor: Factor, terms: Terms) -> Tensor | float:
        turns = {frame for frame in factor.frames if frame.dim is None}
        return super().cost(factor, [(other, term) for other, term in terms if turns <= other.frames])


@final
@dataclass(frozen=True)
class UndeclaredScore(MeanBound):
    """Draws without a path are declared unsupported, and get a gradient without their score term all the same."""

    capabilities: ClassVar[Capabilities] = Capabilities(vectorized_particles=True)

    def score_of(self, factor: Factor) -> Tensor:
        return super().score_of(factor) * 0.0


@final
@dataclass(frozen=True)
class OneDrawForAll(MeanBound):
    """K looped particles are one draw, K times: nothing is biased, and nothing is gained."""

    def run_looped(self, model: Program, guide: Program, args: Any, kwargs: Any) -> Iterable[tuple[Trace, Trace]]:  # noqa: ANN401  # theirs
        first = self.run_pair(model, guide, args, kwargs)
        return [first] * self.num_particles


@final
@dataclass(frozen=True)
class FreshMinibatchPerParticle(MeanBound):
    """Every looped particle draws a minibatch of its own."""

    def shared_minibatch(self, first: tuple[Trace, Trace]) -> Messenger:
        return _Nothing()


@final
class _Nothing(Messenger):
    def process_plate(self, site: Site) -> None:
        """Leave everything as it is."""


PATHWISE = frozenset({"grad_exact_reparam", "grad_unbiased_reparam", "grad_is_that_of_the_loss"})
SCORE = frozenset({"grad_exact_score", "grad_unbiased_score", "grad_is_that_of_the_loss"})

MUTANTS = (
    Mutant("zero gradient", ZeroGradient, PATHWISE | SCORE | {"converges"}),
    Mutant("flipped sign", FlippedSign, PATHWISE | SCORE | {"converges"}),
    Mutant("missing 1/K in the gradient", GradientSummed, frozenset({"grad_exact_reparam", "particles"})),
    Mutant("missing 1/K, vectorized only", VectorizedGradientSummed, frozenset({"grad_exact_reparam", "particles"})),
    Mutant(
        "entropy term dropped", EntropyDropped, frozenset({"grad_exact_reparam", "tight_at_posterior", "converges"})
    ),
    Mutant("path dropped", PathDropped, PATHWISE),
    Mutant("implicit path dropped", ImplicitPathDropped, frozenset({"grad_unbiased_reparam"})),
    Mutant("score term dropped", ScoreDropped, SCORE),
    Mutant("score term scaled", ScoreScaled, frozenset({"respects_scale_mask", "subsampling_unbiased"})),
    Mutant("score term masked", ScoreMasked, frozenset({"respects_scale_mask"})),
    Mutant("score without its own cost", OwnCostLeftOut, frozenset({"grad_exact_score"})),
    Mutant("score without the data's cost", DataCostLeftOut, SCORE),
    Mutant("plate slices mixed", PlateSlicesMixed, frozenset({"plates_and_event_dims"})),
    Mutant("costs by dim, not by plate", CostsByDim, frozenset({"plates_and_event_dims"})),
    Mutant("costs after a loop left out", LoopCostsOutsideLeftOut, frozenset({"plates_and_event_dims"})),
    Mutant("score sites biased, not refused", UndeclaredScore, frozenset({"grad_exact_score", "grad_unbiased_score"})),
    Mutant("one draw for all particles", OneDrawForAll, frozenset({"particles"})),
    Mutant("fresh subsample per particle", FreshMinibatchPerParticle, frozenset({"one_minibatch_per_estimate"})),
)
