"""A check: one statement about an estimator, with what it needs and what it costs."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, final

if TYPE_CHECKING:
    from aleator_testing.subject import Subject

__all__ = ["GROUPS", "Check", "CheckFailure", "Group", "Level", "NotApplicable", "check"]

Group = Literal["A", "B", "C", "D", "E", "F", "G", "M"]
Level = Literal["fast", "full"]

GROUPS: dict[str, str] = {
    "A": "registration and packaging",
    "B": "the object",
    "C": "the contract of estimate",
    "D": "handlers, plates and sites",
    "E": "value and gradient",
    "F": "errors",
    "G": "wrappers",
    "M": "handlers",
}


class CheckFailure(AssertionError):
    """What a check found, what it expected, and where it is explained."""


class NotApplicable(Exception):
    """The reason why a check does not apply: a capability that is not declared, or a package that is not installed."""


@final
@dataclass(frozen=True)
class Check:
    """One statement about an estimator.

    Attributes:
        id: the name by which it is reported, skipped and expected to fail.
        number: its number in the documented list; several checks may share one.
        group: a letter of ``GROUPS``.
        summary: the statement in a sentence.
        level: ``"fast"`` for every commit, ``"full"`` for long statistical ones.
        requires: capabilities without which the check does not apply.
        cost: how much it runs, in words.
        run: raises ``CheckFailure`` where the statement does not hold, ``NotApplicable`` where it says nothing.
    """

    id: str
    number: int
    group: Group
    summary: str
    level: Level
    requires: frozenset[str]
    cost: str
    run: Callable[[Subject], None]

    @property
    def docs(self) -> str:
        """Where the check is explained."""
        return f"docs/conformance.md#{self.id.replace('_', '-')}"


def check(
    number: int, *, group: Group, level: Level = "fast", requires: Collection[str] = (), cost: str = "a few estimates"
) -> Callable[[Callable[[Subject], None]], Check]:
    """Make a check of a function: its name is the id, the first sentence of its docstring the summary.

    Example:
        >>> from aleator_testing.check import check
        >>> @check(10, group="C")
        ... def returns_estimate(subject):
        ...     '''The loss is a finite scalar.'''
        >>> returns_estimate.id, returns_estimate.summary
        ('returns_estimate', 'The loss is a finite scalar.')
    """

    def wrap(function: Callable[[Subject], None]) -> Check:
        summary = " ".join((inspect.getdoc(function) or "").split("\n\n")[0].split())
        if not summary:
            raise ValueError(f"check {function.__name__!r} needs a docstring that states what it checks")
        return Check(function.__name__, number, group, summary, level, frozenset(requires), cost, function)

    return wrap
