"""What a case gives to the worker: for each library, a factory of the program that is timed.

A case is a module under ``cases/`` that exports one ``CASE``. Its factories stand side by side and state the same
program as nearly as both languages allow: the same sites in the same order, the same data and initial values. Under one
seed both draw the same numbers, so their losses agree to rounding; the driver compares them before it times anything.
A factory imports its library itself: a worker's environment holds one library only.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median, quantiles

__all__ = ["Case", "Program", "Spread", "disagreement"]


@dataclass(frozen=True)
class Program:
    """A case prepared in one library: ``run`` is timed, on what ``reading`` returns all libraries must agree.

    ``reseed`` restarts the library's random numbers, so that a list of readings can be compared between libraries.
    """

    run: Callable[[], object]
    reading: Callable[[], float]
    reseed: Callable[[int], None]


@dataclass(frozen=True)
class Case:
    """One row of the table: a name, what it does in a line, and a factory for each library.

    ``per`` is how many units one run holds (a trace of 100 sites is reported per site), ``mark`` the largest ratio
    Aleator / peer that the project set itself; no program fails on it. ``tolerance`` bounds the relative difference of
    the libraries' readings, ``steps_compared`` says how many of them are compared: rounding grows along a training.
    A factory takes whether values and shapes are validated.
    """

    name: str
    title: str
    factories: Mapping[str, Callable[[bool], Program]]
    per: int = 1
    unit: str = "step"
    mark: float | None = None
    tolerance: float = 1e-4
    steps_compared: int = 20


@dataclass(frozen=True)
class Spread:
    """The median of a list of figures with its quartiles."""

    low: float
    middle: float
    high: float

    @classmethod
    def of(cls, figures: Sequence[float]) -> Spread:
        """Summarize at least one figure."""
        if len(figures) < 2:
            return cls(figures[0], figures[0], figures[0])
        low, middle, high = quantiles(figures, n=4, method="inclusive")
        return cls(low, middle, high)

    @property
    def relative(self) -> float:
        """The interquartile range as a share of the median."""
        return (self.high - self.low) / self.middle if self.middle else math.inf


def disagreement(one: Sequence[float], other: Sequence[float]) -> float:
    """The largest difference between two lists of readings, relative to the typical size of a reading.

    NaN or infinite readings count as an infinite difference: they would compare equal to nothing.
    """
    if len(one) != len(other) or not all(map(math.isfinite, [*one, *other])):
        return math.inf
    size = max(median(map(abs, one)), 1e-12)
    return max(abs(a - b) for a, b in zip(one, other, strict=True)) / size
