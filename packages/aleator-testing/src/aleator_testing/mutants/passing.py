"""Estimators that lose something on the way in or out: arguments, parts, terms by site, references."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, final

from aleator_testing.mutants.mutant import Mutant
from aleator_testing.reference import MeanBound, Particle

if TYPE_CHECKING:
    from aleator.infer import Estimate
    from aleator.trace import Trace

__all__ = ["MUTANTS"]

Program = Callable[..., Any]


@final
@dataclass(frozen=True, repr=False)
class DropsKeywords(MeanBound):
    """Passes the positional arguments on alone."""

    def run_pair(self, model: Program, guide: Program, args: Any, kwargs: Any) -> tuple[Trace, Trace]:  # noqa: ANN401  # theirs
        """Forget the keywords that a program can do without, as one with defaults can."""
        return super().run_pair(_with_defaults(model, kwargs), _with_defaults(guide, kwargs), args, {})


def _with_defaults(program: Program, kwargs: dict[str, Any]) -> Program:
    defaults = dict.fromkeys(kwargs, 1.0)
    return lambda *args: program(*args, **defaults)


@final
@dataclass(frozen=True, repr=False)
class PartsUndivided(MeanBound):
    """Gives its particles one by one for differentiation, each with the weight of all."""

    def estimates(self, model: Program, guide: Program, /, *args: Any, **kwargs: Any) -> Iterator[Estimate]:  # noqa: ANN401  # theirs
        """Yield an estimate per particle, and forget 1/K."""
        for _ in range(self.num_particles):
            yield replace(self, num_particles=1).estimate(model, guide, *args, **kwargs)


@final
@dataclass(frozen=True, repr=False)
class TermsSummed(MeanBound):
    """Reports the terms of one site twice."""

    def particle(self, model_trace: Trace, guide_trace: Trace) -> Particle:
        """Double the first."""
        found = super().particle(model_trace, guide_trace)
        first = next(iter(found.sites), None)
        sites = {name: 2.0 * term if name == first else term for name, term in found.sites.items()}
        return found._replace(sites=sites)


@final
@dataclass(frozen=True, repr=False)
class TracesInACycle(MeanBound):
    """Ties the traces of each particle into a knot that refers to itself."""

    def particle(self, model_trace: Trace, guide_trace: Trace) -> Particle:
        """Put the traces into a list that holds itself."""
        knot: list[object] = [model_trace, guide_trace]
        knot.append(knot)
        return super().particle(model_trace, guide_trace)


MUTANTS: tuple[Mutant, ...] = (
    Mutant("keywords dropped", DropsKeywords, frozenset({"arguments_reach_both"})),
    Mutant("1/K missing from the parts", PartsUndivided, frozenset({"views_agree"})),
    Mutant("terms by site counted twice", TermsSummed, frozenset({"diagnostics_add_up"})),
    Mutant("traces in a cycle of references", TracesInACycle, frozenset({"no_leak"})),
)
