"""Prints where a library's time goes in one case, in microseconds per run.

    python tools/bench/breakdown.py CASE --library pyro --python PATH [--seconds 10]

The shares come from interrupts (``sampler.py``), the time from blocks of runs without them, and what validation costs
from the same blocks with validation off.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

if __name__ == "__main__":  # started as a file: the package above it is not on the path yet
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bench.cases import NAMES
from bench.session import Session, WorkerError

__all__ = ["main"]

# An interrupt may, rarely, meet the interpreter between two frames: reading the stack then ends the worker.
ATTEMPTS = 4


def main(arguments: Sequence[str] | None = None) -> int:
    """Print what the time is spent on, then the dearest lines, functions and operators."""
    options = _parser().parse_args(arguments)
    for _ in range(ATTEMPTS):
        try:
            checked, unchecked, found, operators = _measure(options)
            break
        except WorkerError as error:
            print(error, file=sys.stderr)
    else:
        return 1
    print(f"{options.case}, {options.library}: {checked * 1e6:.0f} us per run, {unchecked * 1e6:.0f} us unvalidated")
    print(f"{operators['total']} operators, {operators['host_reads']} host reads; {found['samples']} interrupts\n")
    _print("spent on", found["charged"], checked, len(found["charged"]))
    _print("by line", found["lines"], checked, options.most)
    _print("by function alone", found["own"], checked, options.most)
    _print("by function with its callees", found["within"], checked, options.most)
    _print("operators", {name: number / 1e6 for name, number in operators["names"].items()}, 1.0, options.most)
    return 0


def _measure(options: argparse.Namespace) -> tuple[float, float, dict[str, Any], dict[str, Any]]:
    own_sources = options.library.startswith("aleator")
    with Session(options.library, options.python, own_sources=own_sources) as session:
        session.ask("prepare", options.case, "off")
        unchecked = _seconds_per_run(session, options.case)
        session.ask("prepare", options.case, "on")
        checked = _seconds_per_run(session, options.case)
        operators = session.ask("operators", options.case)
        return checked, unchecked, session.ask("breakdown", options.case, options.seconds), operators


def _seconds_per_run(session: Session, case: str) -> float:
    number = max(5, round(0.2 * 20 / float(session.ask("run", case, 20)["seconds"])))
    return median(float(session.ask("run", case, number)["processor_seconds"]) / number for _ in range(7))


def _print(title: str, shares: Mapping[str, float], seconds: float, most: int) -> None:
    print(title)
    for name, share in sorted(shares.items(), key=lambda item: -item[1])[:most]:
        print(f"{share * seconds * 1e6:10.1f}  {name}")
    print()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("case", choices=NAMES)
    parser.add_argument("--library", default="aleator")
    parser.add_argument("--python", default=sys.executable, help="interpreter of the library's environment")
    parser.add_argument("--seconds", type=float, default=10.0, help="processor time to sample over")
    parser.add_argument("--most", type=int, default=30, help="lines of each list")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
