"""Write ``docs/conformance.md``: what each check of the conformance kit states, and which broken estimators it finds.

    python tools/generate_conformance.py             # write the page; the measured matrix stays as it is
    python tools/generate_conformance.py --matrix    # run the checks on every mutant first: many minutes
    python tools/generate_conformance.py --check     # fail where the page is stale

The page must have an entry for each check and each mutant that there is, and the matrix a row for each.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

from aleator_testing.catalogue import all_checks
from aleator_testing.check import GROUPS, Check
from aleator_testing.matrix import Matrix, all_mutants
from aleator_testing.messenger_checks import MESSENGER_CHECKS
from aleator_testing.mutants.handlers import BROKEN_HANDLERS
from aleator_testing.mutants.wheels import WHEELS
from aleator_testing.running import run_check
from aleator_testing.subject import Subject

ROOT = Path(__file__).resolve().parent.parent
PAGE = ROOT / "docs" / "conformance.md"
BEGIN, END = "<!-- the matrix, measured -->\n", "<!-- end of the matrix -->\n"

INTRODUCTION = """\
# The conformance kit, check by check

`aleator-testing` tells a working estimator from one that is subtly wrong. [Check your
estimator](how-to/check-your-estimator.md) shows how to run it; here is what each check states, what it needs, what it
costs, and which broken estimators it finds.

- **Truth** comes from closed forms and from exact enumeration of all draws, for the value *and* for the gradient.
  Checks of level `full` draw at random; they fix their seeds, and state their rates of false alarm and acceptance.
- **Skipped** is a check only where the estimator does not declare the capability that it needs, where the package of a
  wrapper is not installed, or where nothing is registered. An error inside the estimator is a failure, whatever its
  type.
- **Expected failures** are named with a reason, and a check that passes against expectation is reported.
- **Each check runs in a world of its own**: its own parameter store, seed and context, with validation on and warnings
  as errors; afterwards everything is as before.
- **The kit is held to the same standard.** It ships broken estimators, one thing broken in each. Every check fails on
  at least one of them, every one of them fails a check, and `nox -s conformance` runs them.

This page is written by `tools/generate_conformance.py`.
"""

MATRIX = (
    "Every check of level `fast` was run on every broken estimator, also on those that it need not find; one of level "
    "`full` on those that it must find. `python -m aleator_testing.matrix` runs every check on every one."
)

WHEELS_TEXT = "What goes wrong at registration or import is shown by installed wheels, checked from a fresh process."


def found_by() -> dict[str, list[str]]:
    """Return by check the broken estimators and distributions that state that it must find them."""
    broken: dict[str, list[str]] = {check.id: [] for check in (*all_checks(), *MESSENGER_CHECKS)}
    for each in (*all_mutants(), *WHEELS):
        for name in sorted(each.fails):
            broken[name].append(each.name)
    for handler in BROKEN_HANDLERS:
        broken[handler.fails].append(handler.name)
    return broken


def entry(check: Check, broken: list[str]) -> Iterator[str]:
    """Yield the lines of one check; its heading is the anchor that a failure message names."""
    yield f"### {check.id.replace('_', ' ')}"
    yield ""
    yield check.summary
    yield ""
    needs = ", ".join(f"`{each}`" for each in sorted(check.requires)) or "nothing"
    yield f"`{check.id}` · number {check.number} · level `{check.level}` · needs {needs} · costs {check.cost}  "
    yield f"finds: {'; '.join(broken) or 'nothing'}"
    yield ""


def page(measured: str) -> str:
    """Return the page around the measured matrix."""
    lines = [INTRODUCTION]
    broken = found_by()
    for group, title in GROUPS.items():
        lines += [f"## {group}. {title[0].upper()}{title[1:]}", ""]
        for check in (*all_checks(), *MESSENGER_CHECKS):
            if check.group == group:
                lines += entry(check, broken[check.id])
    lines += ["## Broken distributions", "", WHEELS_TEXT, "", "| what is broken | found by |", "|---|---|"]
    lines += [
        f"| {wheel.name} | {', '.join(f'`{name}`' for name in sorted(wheel.fails)) or 'nothing'} |" for wheel in WHEELS
    ]
    lines += ["", "## The matrix", "", MATRIX, ""]
    return "\n".join(lines) + BEGIN + measured + END


def statuses_of(index: int) -> dict[tuple[str, str], str]:
    """Run the checks on one mutant."""
    mutant = all_mutants()[index]
    subject = Subject(mutant.factory)
    asked = {check.id: check.level == "fast" or check.id in mutant.fails for check in all_checks()}
    return {
        (mutant.name, check.id): run_check(subject, check).status if asked[check.id] else "skipped"
        for check in all_checks()
    }


def measure() -> tuple[str, list[str]]:
    """Run the checks on all mutants, two at a time; return the tables, and what is wrong with them.

    Wrong is a check that finds nothing, and a mutant that is found by nobody or not by all that must find it.
    """
    statuses: dict[tuple[str, str], str] = {}
    with ProcessPoolExecutor(2) as pool:
        for found in pool.map(statuses_of, range(len(all_mutants()))):
            statuses |= found
    matrix = Matrix(all_checks(), all_mutants(), statuses, 0.0)
    summary = matrix.summary().replace("did not apply.", "did not apply or were not asked.")
    return "\n".join([*matrix.markdown().splitlines()[:-1], summary]) + "\n", matrix.faults()


def measured_in(text: str) -> str:
    """Return the matrix that stands on the page."""
    return text.partition(BEGIN)[2].partition(END)[0]


def rows(matrix: str) -> set[str]:
    """Return the names of the mutants in the first table, and of the checks in the second."""
    by_mutant, _, by_check = matrix.partition("\n| | check |")
    mutants = re.findall(r"^\| ([^|`]+?) \| `", by_mutant, re.MULTILINE)
    return {*mutants, *re.findall(r"^\| [A-G]\d+ \| `(\w+)` \|", by_check, re.MULTILINE)}


def main() -> None:
    """Write the page, or say that it is stale."""
    old = PAGE.read_text(encoding="utf-8") if PAGE.exists() else ""
    measured, faults = measured_in(old), []
    if "--matrix" in sys.argv:
        measured, faults = measure()
    new = page(measured)
    missing = sorted(
        {*(mutant.name for mutant in all_mutants()), *(check.id for check in all_checks())} ^ rows(measured)
    )
    if "--check" in sys.argv:
        if new != old:
            raise SystemExit("docs/conformance.md is stale; run python tools/generate_conformance.py")
        if missing:
            raise SystemExit(
                f"the matrix in docs/conformance.md and the kit differ in {', '.join(missing)}; run it with --matrix"
            )
    else:
        PAGE.write_text(new, encoding="utf-8")
        if faults:
            raise SystemExit("\n".join(faults))
    print(f"{len(all_checks())} checks, {len(all_mutants())} mutants, {len(WHEELS)} wheels")


if __name__ == "__main__":
    main()
