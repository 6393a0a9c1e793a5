"""What came out of the checks, as data and as a table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, final

from aleator_testing.check import GROUPS, CheckFailure

if TYPE_CHECKING:
    from aleator_testing.check import Check

__all__ = ["Outcome", "Report", "Status"]

Status = Literal["passed", "failed", "skipped", "expected failure", "unexpected pass"]


@final
@dataclass(frozen=True)
class Outcome:
    """What one check said.

    Attributes:
        check: the check.
        status: how it ended; an error inside the estimator is a failure.
        message: what was found, or why it was skipped.
        seconds: how long it took.
    """

    check: Check
    status: Status
    message: str = ""
    seconds: float = 0.0

    @property
    def ok(self) -> bool:
        """Whether nothing has to be done about it."""
        return self.status in ("passed", "skipped", "expected failure")


@final
@dataclass(frozen=True)
class Report:
    """The outcomes of one subject's checks; ``str(report)`` is a table.

    Attributes:
        name: the subject.
        level: which checks were run.
        outcomes: in the order of the groups.
    """

    name: str
    level: str
    outcomes: tuple[Outcome, ...]

    @property
    def ok(self) -> bool:
        """Whether every check passed, was skipped for a declared reason, or failed as expected."""
        return all(outcome.ok for outcome in self.outcomes)

    def __iter__(self) -> Iterator[Outcome]:
        """Yield the outcomes."""
        return iter(self.outcomes)

    def raise_for_failures(self) -> None:
        """Raise where something has to be done.

        Raises:
            CheckFailure: with the table.
        """
        if not self.ok:
            raise CheckFailure(str(self))

    def __str__(self) -> str:
        counts = Counter(outcome.status for outcome in self.outcomes)
        total = ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))
        seconds = sum(outcome.seconds for outcome in self.outcomes)
        lines = [f"{self.name}, level {self.level}: {total or 'no check applies'} ({seconds:.1f} s)"]
        width = max((len(outcome.check.id) for outcome in self.outcomes), default=0)
        group = ""
        for outcome in self.outcomes:
            if outcome.check.group != group:
                group = outcome.check.group
                lines.append(f"{group}. {GROUPS[group]}")
            note = outcome.message.replace("\n", "\n" + " " * (width + 25))
            lines.append(f"   {outcome.check.id:<{width}}  {outcome.status:<16}  {note}".rstrip())
        return "\n".join(lines)
