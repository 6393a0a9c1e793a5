"""Measures Aleator and its peers side by side and writes a markdown table.

    python tools/bench/run.py --peers-python PATH [--aleator-python PATH] [--output FILE]

Each library runs in its own process and environment; the driver lets them take turns, a block of runs at a time. No
time makes the program fail. ``--check`` measures for a few seconds only and fails where a case does not run, or where
the libraries' readings differ under one seed: then they would not be doing the same work.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

if __name__ == "__main__":  # started as a file: the package above it is not on the path yet
    sys.path[0] = str(Path(__file__).resolve().parents[1])

from bench.cases import NAMES
from bench.measure import Plan, Result, measure
from bench.report import figures_as_data, markdown
from bench.session import WorkerError

__all__ = ["main"]

LIBRARIES = ("aleator", "pyro")
# "torch" is each step written out without a language: what an eager step cannot go below. It has no chain of sites.
ALL = (*LIBRARIES, "torch")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; 0, or 1 where a case failed or the libraries did different work."""
    options = _parser().parse_args(arguments)
    plan = Plan(
        cases=options.cases,
        pythons={
            library: options.aleator_python if library.startswith("aleator") else options.peers_python
            for library in options.libraries
        },
        rounds=2 if options.check else options.rounds,
        restarts=1 if options.check else options.restarts,
        block_seconds=0.05 if options.check else options.block_seconds,
        validate=options.validation == "on",
        clock=options.clock,
    )
    try:
        result = measure(plan)
    except WorkerError as error:
        print(error, file=sys.stderr)
        return 1
    text = markdown(result)
    print(text)
    if options.output:
        options.output.write_text(text, encoding="utf-8")
    if options.json:
        options.json.write_text(json.dumps(figures_as_data(result)), encoding="utf-8")
    differing = _differing(result)
    for line in differing:
        print(line, file=sys.stderr)
    return 1 if differing else 0


def _differing(result: Result) -> list[str]:
    return [
        f"{name}: readings differ by {figures.disagreement:.1e} of their size; {figures.case.tolerance:.0e} is rounding"
        for name, figures in result.cases.items()
        if figures.disagreement is not None and figures.disagreement > figures.case.tolerance
    ]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--aleator-python", default=sys.executable, help="interpreter with Aleator (default: this one)")
    parser.add_argument("--peers-python", default=sys.executable, help="interpreter with Pyro (default: this one)")
    parser.add_argument("--libraries", nargs="+", default=LIBRARIES, choices=ALL, help="the first is compared")
    parser.add_argument("--cases", nargs="+", default=NAMES, choices=NAMES)
    parser.add_argument("--rounds", type=int, default=15, help="blocks per library and process")
    parser.add_argument("--restarts", type=int, default=3, help="how often the processes are started afresh")
    parser.add_argument("--block-seconds", type=float, default=0.1, help="about how long one block takes")
    parser.add_argument("--validation", choices=("on", "off"), default="on", help="in all libraries")
    parser.add_argument(
        "--clock",
        choices=("processor", "wall"),
        default="processor",
        help="processor time is not blurred by other programs (default); wall is for steps that wait for a device",
    )
    parser.add_argument("--output", type=Path, help="write the table here as well")
    parser.add_argument("--json", type=Path, help="write every figure here")
    parser.add_argument("--check", action="store_true", help="a few seconds: do the cases run and agree?")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
