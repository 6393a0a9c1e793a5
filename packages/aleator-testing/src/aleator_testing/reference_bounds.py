"""Reference estimators of bounds that are no mean over the particles, and one that sums discrete draws out."""

from __future__ import annotations

import math
from abc import ABC
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, final

import torch
from torch import Tensor

from aleator.broadcasting import plate_shape
from aleator.errors import UnsupportedModelError
from aleator.handlers import Messenger, replay, trace
from aleator.infer import AbstractEstimator, Capabilities, Estimate, density
from aleator.infer.checks import check_match
from aleator.runtime import Run
from aleator_testing.reference import ReferenceBound

if TYPE_CHECKING:
    from aleator.sites import Site
    from aleator.trace import Trace

__all__ = ["EnumeratedBound", "LogMeanBound", "ReferenceEnumeration", "ReferenceIWAE", "ReferenceRenyi"]

Program = Callable[..., Any]
RULES = frozenset({"pathwise", "score"})


@dataclass(frozen=True, repr=False)
class LogMeanBound(ReferenceBound, ABC):
    """A bound inside whose logarithm the particles are averaged: abstract."""

    def reduce(self, log_weight: Tensor, surrogate: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
        """Return the bound per datum; every draw without a path answers for all of it."""
        power = 1.0 - getattr(self, "alpha", 0.0)
        bound = (torch.logsumexp(power * log_weight, 0) - math.log(len(log_weight))) / power
        return bound, bound + score.sum(0) * bound.detach()


@final
@dataclass(frozen=True)
class ReferenceIWAE(LogMeanBound):
    """The importance-weighted bound (Burda et al. 2016, eq. 8)."""

    capabilities: ClassVar[Capabilities] = Capabilities(
        non_reparam=True, vectorized_particles=True, gradient_rules=RULES, bound="iwae"
    )


@final
@dataclass(frozen=True)
class ReferenceRenyi(LogMeanBound):
    """The Renyi bound of order ``alpha`` (Li and Turner 2016, eq. 11)."""

    capabilities: ClassVar[Capabilities] = Capabilities(
        non_reparam=True, vectorized_particles=True, gradient_rules=RULES, bound="renyi"
    )
    alpha: float = 0.5


class EnumeratedBound(AbstractEstimator, ABC):
    """The evidence lower bound with marked draws summed out, value by value: abstract, so that twins can break a step.

    Sites with ``infer={"enumerate": ...}``: those of the guide are averaged over, those of the model that the guide
    lacks are summed out of p. Every other draw of the guide must have a path.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(enumeration=True)

    def estimate(self, model: Program, guide: Program, /, *args: Any, **kwargs: Any) -> Estimate:  # noqa: ANN401  # the programs' own
        """Return minus the sum of q (log p - log q) over the marked draws of the guide."""
        total = torch.zeros(())
        with Run():
            for guide_trace, marked in self.runs(guide, args, kwargs):
                joint = []
                for model_trace, _ in self.runs(replay(model, trace=guide_trace), args, kwargs):
                    self.refuse_mismatch(model_trace, guide_trace)
                    joint.append(_total(model_trace))
                total = total + self.weight(marked) * (self.sum_out(torch.stack(joint)) - _total(guide_trace))
        return Estimate(-total.detach(), -total)

    def weight(self, marked: Tensor) -> Tensor:
        """Return the probability of the marked draws from their log-probability."""
        return marked.exp()

    def sum_out(self, joint: Tensor) -> Tensor:
        """Return log p without the model's own marked draws, from log p with each of their values."""
        return torch.logsumexp(joint, 0)

    def runs(self, program: Program, args: Any, kwargs: Any) -> Iterator[tuple[Trace, Tensor]]:  # noqa: ANN401  # the programs' own
        """Run a program once per combination of its marked values; yield the trace and their log-probability."""
        path: list[list[int]] = []
        while True:
            values = _MarkedValues(path)
            with trace() as found, values:
                program(*args, **kwargs)
            yield found, values.log_probability
            while path and path[-1][0] + 1 == path[-1][1]:
                path.pop()
            if not path:
                return
            path[-1][0] += 1

    def refuse_mismatch(self, model_trace: Trace, guide_trace: Trace) -> None:
        """Check the pair without the model's own marked sites, and that all other draws have a path."""
        own = {name for name, site in model_trace.nodes.items() if _is_marked(site) and name not in guide_trace.nodes}
        rest = model_trace.copy()
        for name in own:
            del rest.nodes[name]
        check_match(rest, guide_trace)
        for name, site in guide_trace.nodes.items():
            if site.type == "sample" and not site.is_observed and not _is_marked(site) and not site.fn.has_rsample:
                raise UnsupportedModelError(f"guide site {name!r} has draws without a path (capability 'non_reparam')")


@final
@dataclass(frozen=True)
class ReferenceEnumeration(EnumeratedBound):
    """The evidence lower bound with marked draws summed out, one run of the programs per value."""


@final
class _MarkedValues(Messenger):
    """Gives marked sites the values of one combination; a path longer than the given one goes on with first values."""

    def __init__(self, path: list[list[int]]) -> None:
        self._path = path
        self._position = 0
        self.log_probability = torch.zeros(())

    def process_sample(self, site: Site) -> None:
        if site.value is not None or site.is_observed or not _is_marked(site):
            return
        shape, _ = plate_shape(site.fn.batch_shape, site.frames)
        support = site.fn.enumerate_support(expand=False).reshape(-1)
        site.value = support[[self._take(len(support)) for _ in range(shape.numel())]].reshape(shape)
        site.done = True
        self.log_probability = self.log_probability + site.fn.log_prob(site.value).sum()

    def _take(self, count: int) -> int:
        if self._position == len(self._path):
            self._path.append([0, count])
        self._position += 1
        return self._path[self._position - 1][0]


def _is_marked(site: Site) -> bool:
    return site.type == "sample" and not site.is_observed and bool(site.infer.get("enumerate"))


def _total(found: Trace) -> Tensor:
    return sum((factor.scaled.sum() for factor in density(found).values()), torch.zeros(()))
