"""Times compiled training steps beside Pyro and NumPyro and prints a markdown table with the marks.

    python tools/bench/compiled/run.py --pyro-python PATH --numpyro-python PATH [--cache DIR] [--output FILE]

Each row of the table runs in a process of its own; they take turns, a block of steps at a time, and are started afresh
a few times. The first process of a row finds no compiled code, the later ones find it on disk: the seconds to the first
step are reported for both.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

if __name__ == "__main__":  # started as a file: the package above it is not on the path yet
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from bench.compiled.report import markdown
from bench.session import Session

__all__ = ["Figures", "measure"]

ROWS = ("aleator_compiled", "numpyro", "pyro_jit", "pyro", "aleator_compiled_run", "numpyro_scan")
PROGRAMS = (
    "weighing", "eight_schools", "logistic_regression", "mini_batches", "autoencoder", "importance_weighted",
    "gaussian_mixture", "hidden_markov",
)  # fmt: skip
ONE_CORE = {"XLA_FLAGS": "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"}


@dataclass
class Figures:
    """What was measured of one program, by row.

    Attributes:
        seconds: per step, block by block.
        first: seconds to the first step, process by process: of the first by the wall, as compilers are processes too,
            of later ones by the clock that was asked for.
        imported: modules that a later process imported on the way there and that cost time.
        losses: of the first steps.
    """

    seconds: dict[str, list[float]] = field(default_factory=dict)
    first: dict[str, list[float]] = field(default_factory=dict)
    imported: dict[str, list[str]] = field(default_factory=dict)
    losses: dict[str, list[float]] = field(default_factory=dict)


def measure(options: argparse.Namespace, reference: list[float]) -> dict[str, Figures]:
    """Take turns between the rows, program by program."""
    found = {name: Figures() for name in options.programs}
    for _ in range(options.restarts):
        with ExitStack() as stack:
            sessions = {row: stack.enter_context(_session(row, options)) for row in options.rows}
            for name, figures in found.items():
                _measure_program(name, figures, sessions, options, reference)
                if options.output:  # what is there, should the rest not come to its end
                    measured = {each: found[each] for each in found if found[each].seconds}
                    options.output.write_text(markdown(measured, reference), encoding="utf-8")
    return found


def _measure_program(
    name: str, figures: Figures, sessions: Mapping[str, Session], options: argparse.Namespace, reference: list[float]
) -> None:
    numbers: dict[str, int] = {}
    for row, session in sessions.items():
        answer = session.ask("prepare", name)
        firsts = figures.first.setdefault(row, [])
        firsts.append(answer[options.clock if firsts else "seconds"])
        figures.imported[row] = answer["imported"]
        if row not in figures.losses:
            figures.losses[row] = session.ask("losses", name)["losses"]
        unit = answer["unit"]
        session.ask("settle", name)
        session.ask("run", name, 3 * unit)
        trial = session.ask("run", name, 3 * unit)["seconds"] / 3
        numbers[row] = unit * max(1, round(options.block_seconds / trial))
    turns = list(sessions.items())
    for _ in range(options.rounds):
        for row, session in turns:
            answer = session.ask("run", name, numbers[row])
            figures.seconds.setdefault(row, []).append(answer[options.clock] / numbers[row])
            reference.append(session.ask("reference", 20)["seconds"] / 20)
        turns.reverse()


def _session(row: str, options: argparse.Namespace) -> Session:
    library = row.partition("_")[0]
    python = {"aleator": options.aleator_python, "pyro": options.pyro_python, "numpyro": options.numpyro_python}[
        library
    ]
    worker = Path(__file__).resolve().parent / "worker.py"
    return Session(row, python, own_sources=library == "aleator", worker=worker)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print; no time makes the program fail."""
    options = _parser().parse_args(arguments)
    os.environ.update(ONE_CORE)
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed has its bytecode: a second process finds ours
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ALEATOR_CACHE"] = str(options.cache or Path(folder) / "steps")
        reference: list[float] = []
        text = markdown(measure(options, reference), reference)
    print(text)
    if options.output:
        options.output.write_text(text, encoding="utf-8")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for library in ("aleator", "pyro", "numpyro"):
        parser.add_argument(f"--{library}-python", default=sys.executable, help=f"interpreter with {library}")
    parser.add_argument("--rows", nargs="+", default=ROWS, choices=ROWS)
    parser.add_argument("--programs", nargs="+", default=PROGRAMS, choices=PROGRAMS)
    parser.add_argument("--rounds", type=int, default=8, help="blocks per row and process")
    parser.add_argument("--restarts", type=int, default=2, help="how often the processes are started afresh")
    parser.add_argument("--block-seconds", type=float, default=0.1, help="about how long one block takes")
    parser.add_argument(
        "--clock", choices=("processor_seconds", "seconds"), default="seconds", help="all threads', or by the wall"
    )
    parser.add_argument("--cache", type=Path, help="where compiled steps are kept; a new folder by default")
    parser.add_argument("--output", type=Path, help="write the table here as well")
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
