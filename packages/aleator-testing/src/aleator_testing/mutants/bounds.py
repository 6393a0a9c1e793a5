"""Mutants of bounds that are no mean over the particles, and of sums over discrete draws."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, final

import torch
from torch import Tensor

from aleator.handlers import Messenger
from aleator.infer import Capabilities, Factor
from aleator_testing.mutants.mutant import Mutant
from aleator_testing.reference import MeanBound
from aleator_testing.reference_bounds import EnumeratedBound, LogMeanBound, ReferenceIWAE, ReferenceRenyi

if TYPE_CHECKING:
    from aleator.sites import PlateFrame, Site
    from aleator.trace import Trace

__all__ = ["MUTANTS"]

Program = Callable[..., Any]


@final
@dataclass(frozen=True)
class OwnSurrogatesWeighted(LogMeanBound):
    """Each particle's surrogate is weighted by its importance: a draw then answers for its own particle only."""

    capabilities: ClassVar[Capabilities] = ReferenceIWAE.capabilities

    def reduce(self, log_weight: Tensor, surrogate: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
        bound, _ = super().reduce(log_weight, surrogate, score)
        return bound, (torch.softmax(log_weight, 0).detach() * surrogate).sum(0)


@final
@dataclass(frozen=True)
class LogCountForgotten(LogMeanBound):
    """The log of the sum of the weights, not of their mean."""

    capabilities: ClassVar[Capabilities] = ReferenceIWAE.capabilities

    def reduce(self, log_weight: Tensor, surrogate: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
        bound, total = super().reduce(log_weight, surrogate, score)
        return bound + math.log(len(log_weight)), total


@final
@dataclass(frozen=True)
class MeanCalledIWAE(MeanBound):
    """The mean of the log weights under the name of the tighter bound."""

    capabilities: ClassVar[Capabilities] = ReferenceIWAE.capabilities


@final
@dataclass(frozen=True)
class ScaleInsideLogarithm(LogMeanBound):
    """A minibatch's weight is applied inside the logarithm of the bound."""

    capabilities: ClassVar[Capabilities] = ReferenceIWAE.capabilities

    def scaled(self, factor: Factor, log_prob: Tensor, common: Collection[PlateFrame]) -> Tensor:
        return super().scaled(factor, log_prob, ())

    def common_scale(self, common: Collection[PlateFrame]) -> float:
        return 1.0


@final
@dataclass(frozen=True)
class FreshMinibatchInLogarithm(LogMeanBound):
    """Particles inside the logarithm belong to different data."""

    capabilities: ClassVar[Capabilities] = ReferenceIWAE.capabilities

    def shared_minibatch(self, first: tuple[Trace, Trace]) -> Messenger:
        return _Nothing()


@final
class _Nothing(Messenger):
    def process_plate(self, site: Site) -> None:
        """Leave everything as it is."""


@final
@dataclass(frozen=True)
class OrderTurned(LogMeanBound):
    """The order of the Renyi bound has the wrong sign."""

    capabilities: ClassVar[Capabilities] = ReferenceRenyi.capabilities
    alpha: float = 0.5

    def reduce(self, log_weight: Tensor, surrogate: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
        power = 1.0 + self.alpha
        bound = (torch.logsumexp(power * log_weight, 0) - math.log(len(log_weight))) / power
        return bound, bound + score.sum(0) * bound.detach()


@final
@dataclass(frozen=True)
class UniformWeights(EnumeratedBound):
    """Every value of a marked draw counts the same, whatever its probability."""

    def weight(self, marked: Tensor) -> Tensor:
        return torch.full_like(marked, 0.5).detach()


@final
@dataclass(frozen=True)
class WeightsDetached(EnumeratedBound):
    """The probabilities of marked draws are right in the value, and missing from the gradient."""

    def weight(self, marked: Tensor) -> Tensor:
        return marked.exp().detach()


@final
@dataclass(frozen=True)
class LargestTerm(EnumeratedBound):
    """The model's own marked draws are maximized, not summed out."""

    def sum_out(self, joint: Tensor) -> Tensor:
        return joint.max(0).values


@final
@dataclass(frozen=True)
class MarksSampled(MeanBound):
    """Enumeration is declared, and marked draws are sampled: unbiased, but not what was asked for."""

    capabilities: ClassVar[Capabilities] = Capabilities(
        non_reparam=True, enumeration=True, vectorized_particles=True, gradient_rules=frozenset({"pathwise", "score"})
    )


ENUMERATION = frozenset({"enumeration_exact"})

MUTANTS = (
    Mutant(
        "IWAE: each particle's surrogate weighted", OwnSurrogatesWeighted, frozenset({"grad_exact_score", "particles"})
    ),
    Mutant("IWAE: log K forgotten", LogCountForgotten, frozenset({"value_exact", "tight_at_posterior", "bound_order"})),
    Mutant("ELBO that calls itself IWAE", MeanCalledIWAE, frozenset({"value_exact", "bound_order"})),
    Mutant("IWAE: subsampling scale in the logarithm", ScaleInsideLogarithm, frozenset({"subsampling_unbiased"})),
    Mutant("IWAE: fresh subsample per particle", FreshMinibatchInLogarithm, frozenset({"subsampling_unbiased"})),
    Mutant("Renyi: sign of the order", OrderTurned, frozenset({"value_exact", "particles"})),
    Mutant("enumeration: uniform weights", UniformWeights, ENUMERATION),
    Mutant("enumeration: weights detached", WeightsDetached, ENUMERATION),
    Mutant("enumeration: largest term, not the sum", LargestTerm, ENUMERATION),
    Mutant("enumeration: marks sampled", MarksSampled, ENUMERATION),
)
