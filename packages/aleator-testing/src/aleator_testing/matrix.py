"""The kit against its own mutants: every check fails on at least one, every mutant fails at least one.

``python -m aleator_testing.matrix`` prints the matrix; ``--markdown`` prints it for the documentation, ``--check`` only
says what is wrong with it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, final

from aleator_testing import mutants
from aleator_testing.catalogue import all_checks
from aleator_testing.mutants.wheels import WHEELS
from aleator_testing.running import run_check
from aleator_testing.subject import Subject

if TYPE_CHECKING:
    from aleator_testing.check import Check
    from aleator_testing.mutants.mutant import Mutant

__all__ = ["Matrix", "all_mutants", "compute_matrix", "matrix_markdown"]

SYMBOLS = {"failed": "x", "passed": ".", "skipped": " "}


@final
@dataclass(frozen=True)
class Matrix:
    """Which check ended how on which mutant; what broken wheels are found by is not in it (``mutants.wheels``).

    Attributes:
        checks: the columns.
        mutants: the rows.
        statuses: by mutant's name and check's id: ``"failed"``, ``"passed"``, ``"skipped"``.
        seconds: how long it took.
    """

    checks: tuple[Check, ...]
    mutants: tuple[Mutant, ...]
    statuses: Mapping[tuple[str, str], str]
    seconds: float

    def failing(self, mutant: Mutant) -> list[str]:
        """Return the ids of the checks that find this mutant."""
        return [each.id for each in self.checks if self.statuses[mutant.name, each.id] == "failed"]

    def finds(self, check: Check) -> list[str]:
        """Return the names of the mutants that this check finds."""
        return [each.name for each in self.mutants if self.statuses[each.name, check.id] == "failed"]

    def faults(self) -> list[str]:
        """Say which checks find nothing, which mutants nobody finds, and which expected failures do not happen."""
        known = {each.id for each in self.checks}
        found = [
            f"check {each.id} fails on no mutant: delete it, or ship one"
            for each in self.checks
            if not self.finds(each) and not self._is_found_elsewhere(each)
        ]
        for mutant in self.mutants:
            failing = set(self.failing(mutant))
            if not failing:
                found.append(f"mutant {mutant.name!r} fails no check")
            missed = sorted((mutant.fails & known) - failing)
            if missed:
                found.append(f"mutant {mutant.name!r} should fail {', '.join(missed)}, but does not")
        return found

    def _is_found_elsewhere(self, check: Check) -> bool:
        """Tell whether broken wheels are what a check finds, or its wrapper is not installed here."""
        applies = any(self.statuses[mutant.name, check.id] != "skipped" for mutant in self.mutants)
        return any(check.id in wheel.fails for wheel in WHEELS) or not applies

    def __str__(self) -> str:
        width = max(len(each.name) for each in self.mutants)
        lines = [f"{number:>3}  {each.group}{each.number:<3} {each.id}" for number, each in enumerate(self.checks, 1)]
        lines.append(" " * width + "".join(f"{number:>3}" for number in range(1, len(self.checks) + 1)))
        for mutant in self.mutants:
            cells = "".join(f"  {SYMBOLS[self.statuses[mutant.name, each.id]]}" for each in self.checks)
            lines.append(f"{mutant.name:<{width}}{cells}")
        return "\n".join([*lines, f"x failed, . passed, blank: the check does not apply. {self.summary()}"])

    def summary(self) -> str:
        """Return the figures in a sentence."""
        cells = list(self.statuses.values())
        return (
            f"{len(self.checks)} checks, {len(self.mutants)} mutants, {len(cells)} runs: "
            f"{cells.count('failed')} failed, {cells.count('passed')} passed, {cells.count('skipped')} did not apply."
        )

    def markdown(self) -> str:
        """Return two tables: by mutant, which checks find it; by check, how many mutants it finds."""
        lines = ["| mutant | found by |", "|---|---|"]
        for mutant in self.mutants:
            lines.append(f"| {mutant.name} | {', '.join(f'`{each}`' for each in self.failing(mutant))} |")
        lines += ["", "| | check | level | mutants it finds | of those only it finds |", "|---|---|---|---|---|"]
        alone = {mutant.name: self.failing(mutant)[0] for mutant in self.mutants if len(self.failing(mutant)) == 1}
        for each in self.checks:
            only = [name for name, check_id in alone.items() if check_id == each.id]
            mark = f"{each.group}{each.number}"
            lines.append(f"| {mark} | `{each.id}` | {each.level} | {len(self.finds(each))} | {', '.join(only)} |")
        return "\n".join([*lines, "", f"Every check ran on every mutant. {self.summary()}"])


@cache
def all_mutants() -> tuple[Mutant, ...]:
    """Return every mutant that the kit ships.

    Raises:
        ValueError: two have one name.
    """
    found: list[Mutant] = []
    for name in sorted(module.name for module in iter_modules(mutants.__path__)):
        found.extend(getattr(import_module(f"{mutants.__name__}.{name}"), "MUTANTS", ()))
    names = [each.name for each in found]
    repeated = {each for each in names if names.count(each) > 1}
    if repeated:
        raise ValueError(f"two mutants are called {sorted(repeated)}")
    return tuple(found)


def compute_matrix(checks: Iterable[Check] | None = None, mutants: Iterable[Mutant] | None = None) -> Matrix:
    """Run every check on every mutant.

    Args:
        checks: by default all of both levels.
        mutants: by default all.
    """
    columns = all_checks() if checks is None else tuple(checks)
    rows = all_mutants() if mutants is None else tuple(mutants)
    started = time.perf_counter()
    statuses = {}
    for mutant in rows:
        subject = Subject(mutant.factory)
        for each in columns:
            statuses[mutant.name, each.id] = run_check(subject, each).status
    return Matrix(columns, rows, statuses, time.perf_counter() - started)


def matrix_markdown() -> str:
    """Return the whole matrix for the documentation."""
    return compute_matrix().markdown()


def main(arguments: list[str] | None = None) -> int:
    """Compute the matrix, print it, and say what is wrong with it."""
    parser = argparse.ArgumentParser(prog="python -m aleator_testing.matrix", description=__doc__)
    parser.add_argument("--markdown", action="store_true", help="print tables for the documentation")
    parser.add_argument("--check", action="store_true", help="print only what is wrong")
    options = parser.parse_args(arguments)
    found = compute_matrix()
    if not options.check:
        print(found.markdown() if options.markdown else found)
    for fault in found.faults():
        print(fault, file=sys.stderr)
    return 1 if found.faults() else 0


if __name__ == "__main__":
    raise SystemExit(main())
