"""The measurement: rounds in which the libraries take turns, in processes that are started afresh a few times."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Literal

from bench.cases import load
from bench.contract import Case, disagreement
from bench.session import Session

__all__ = ["CaseFigures", "Plan", "Result", "measure"]

SEED = 7


@dataclass(frozen=True)
class Plan:
    """What to measure and how long: rounds per process, processes one after the other, seconds per block of runs."""

    cases: Sequence[str]
    pythons: Mapping[str, str]  # library -> interpreter; the first library is the one compared with the others
    rounds: int
    restarts: int
    block_seconds: float
    validate: bool = True
    clock: Literal["processor", "wall"] = "processor"

    @property
    def reading(self) -> str:
        """The field of a worker's answer that holds the time."""
        return "processor_seconds" if self.clock == "processor" else "seconds"


@dataclass
class CaseFigures:
    """Figures of one case: for each library, seconds per unit in each round, and the operators of one run."""

    case: Case
    seconds: dict[str, list[float]] = field(default_factory=dict)
    operators: dict[str, dict[str, int]] = field(default_factory=dict)
    disagreement: float | None = None

    def ratios(self, library: str, peer: str) -> list[float]:
        """Library / peer, round by round: a slow spell of the machine falls on both."""
        return [a / b for a, b in zip(self.seconds[library], self.seconds[peer], strict=True)]


@dataclass
class Result:
    """All figures of one run of the benchmark."""

    plan: Plan
    versions: dict[str, dict[str, str]] = field(default_factory=dict)
    cases: dict[str, CaseFigures] = field(default_factory=dict)
    reference: dict[str, list[float]] = field(default_factory=dict)
    processor_share: list[float] = field(default_factory=list)


def measure(plan: Plan) -> Result:
    """Measure every case in every library."""
    result = Result(plan)
    for _ in range(plan.restarts):
        with ExitStack() as stack:
            sessions = {
                library: stack.enter_context(Session(library, python, own_sources=library.startswith("aleator")))
                for library, python in plan.pythons.items()
            }
            result.versions = {library: session.ask("versions") for library, session in sessions.items()}
            for name in plan.cases:
                figures = result.cases.setdefault(name, CaseFigures(load(name)))
                _measure_case(plan, figures, sessions, result)
    return result


def _measure_case(plan: Plan, figures: CaseFigures, sessions: Mapping[str, Session], result: Result) -> None:
    case = figures.case
    numbers: dict[str, int] = {}
    readings: list[list[float]] = []
    for library, session in sessions.items():
        validate = "on" if plan.validate else "off"
        readings.append(session.ask("readings", case.name, SEED, case.steps_compared, validate)["readings"])
        session.ask("prepare", case.name, validate)
        operators = session.ask("operators", case.name)
        figures.operators[library] = {"total": operators["total"], "host_reads": operators["host_reads"]}
        trial = session.ask("run", case.name, 20)["seconds"] / 20
        numbers[library] = max(5, round(plan.block_seconds / trial))
    if len(readings) > 1:
        figures.disagreement = max(disagreement(readings[0], other) for other in readings[1:])
    for library, session in itertools.islice(_turns(sessions), plan.rounds * len(sessions)):
        answer = session.ask("run", case.name, numbers[library])
        runs = numbers[library] * case.per
        figures.seconds.setdefault(library, []).append(answer[plan.reading] / runs)
        result.processor_share.append(answer["processor_seconds"] / answer["seconds"])
        result.reference.setdefault(library, []).append(session.ask("reference", 20)[plan.reading] / 20)


def _turns(sessions: Mapping[str, Session]) -> Iterator[tuple[str, Session]]:
    """A B, B A, A B ...: none is always first, and a drift of the machine cancels."""
    forward = list(sessions.items())
    while True:
        yield from forward
        forward.reverse()
