"""Where the time of a program goes, found by interrupting it: each interrupt writes down the Python stack that it met.

Unlike a tracing profiler it adds nothing to a call, so that many small functions are not made to look dear. The stacks
are written by ``faulthandler`` from the signal itself, without waiting for the interpreter: one inside torch is
charged to the very line that called torch. A stack is charged to the innermost frame that a rule knows.
"""

from __future__ import annotations

import faulthandler
import re
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from typing import IO, NamedTuple

__all__ = ["Breakdown", "sample_stacks"]

# (what the file's path contains, function names or none for all of them, what the time is charged to)
RULES: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("torch/autograd/", (), "backward pass"),
    ("pyro/util.py", (), "checks for NaN and shapes"),
    ("pyro/infer/util.py", ("is_validation_enabled", "torch_item"), "checks for NaN and shapes"),
    ("aleator/validation", (), "checks for NaN and shapes"),
    ("torch/_tensor.py", ("backward",), "backward pass"),
    ("torch/optim/", (), "optimizer"),
    ("pyro/optim/", (), "optimizer"),
    ("aleator/optim/", (), "optimizer"),
    ("torch/distributions/constraint_registry.py", (), "parameters"),
    ("pyro/params/", (), "parameters"),
    ("aleator/params/", (), "parameters"),
    ("/distributions/", ("__init__", "_begin", "*_shape", "to_event", "expand", "expand_by"), "constructors"),
    ("/distributions/", ("rsample", "sample", "__call__"), "draws"),
    ("/distributions/", ("*log_prob", "score_parts", "kl_divergence", "entropy"), "log_prob"),
    ("aleator/drawing", (), "draws"),
    ("aleator/randomness", (), "draws"),
    ("pyro/distributions/distribution.py", (), "constructors"),
    ("bench/cases/", ("model", "guide", "walk"), "the program's own lines"),
    ("pyro/poutine/", ("compute_log_prob", "compute_score_parts"), "log_prob"),
    ("pyro/poutine/", (), "messages, handlers, trace"),
    ("pyro/primitives.py", (), "messages, handlers, trace"),
    ("pyro/infer/", (), "estimator"),
    ("pyro/util.py", (), "estimator"),
    ("aleator/infer/", (), "estimator"),
    ("aleator_svi_elbo/", (), "estimator"),
    ("aleator/", (), "messages, handlers, trace"),
)
# Frames of these files carry time that belongs to whoever called them: the search goes on outward.
TRANSPARENT = (
    "torch/distributions/utils.py",
    "torch/distributions/transforms.py",
    "torch/distributions/constraints.py",
)


@dataclass(frozen=True)
class Breakdown:
    """Shares of the interrupts: by purpose, by line, by function alone and with its callees."""

    samples: int
    charged: Mapping[str, float]
    lines: Mapping[str, float]
    own: Mapping[str, float]
    within: Mapping[str, float]


class _Frame(NamedTuple):
    path: str
    line: str
    function: str

    @property
    def label(self) -> str:
        path = self.path.replace("\\", "/")
        place = path.split("/site-packages/")[-1].split("/src/")[-1].split("/tools/")[-1]
        return f"{place}:{self.function}"


_FRAME = re.compile(r'  File "(.*)", line (\S+) in (.*)')


def sample_stacks(run: Callable[[], object], seconds: float, interval: float = 0.001) -> Breakdown:
    """Repeat ``run`` for so many seconds of processor time, noting the stack at every interval of it."""
    with tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as file:
        with _interrupts(file, interval):
            end = time.process_time() + seconds
            while time.process_time() < end:
                for _ in range(10):
                    run()
        file.seek(0)
        return _summary(_stacks(file))


@contextmanager
def _interrupts(file: IO[str], interval: float) -> Iterator[None]:
    faulthandler.register(signal.SIGPROF, file=file, all_threads=False)
    signal.setitimer(signal.ITIMER_PROF, interval, interval)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        faulthandler.unregister(signal.SIGPROF)


def _stacks(file: IO[str]) -> Iterator[list[_Frame]]:
    """Read the stacks, innermost frame first, each up to the frame that called the program."""
    stack: list[_Frame] = []
    ended = False
    for line in file:
        found = _FRAME.match(line)
        if found is None:  # the line that begins a stack
            if stack:
                yield stack
            stack, ended = [], False
        elif found[3] == "sample_stacks":
            ended = True
        elif not ended:
            stack.append(_Frame(found[1], found[2], found[3]))
    if stack:
        yield stack


def _summary(stacks: Iterator[list[_Frame]]) -> Breakdown:
    charged: Counter[str] = Counter()
    lines: Counter[str] = Counter()
    own: Counter[str] = Counter()
    within: Counter[str] = Counter()
    for stack in stacks:
        charged[_charge(stack)] += 1
        lines[f"{stack[0].label}:{stack[0].line}"] += 1
        own[stack[0].label] += 1
        within.update({frame.label for frame in stack})
    total = max(sum(charged.values()), 1)
    return Breakdown(total, *(_shares(counter, total) for counter in (charged, lines, own, within)))


def _charge(stack: list[_Frame]) -> str:
    for path, _, function in stack:
        if any(part in path for part in TRANSPARENT):
            continue
        for part, functions, charge in RULES:
            if part in path and (not functions or any(fnmatch(function, pattern) for pattern in functions)):
                return charge
    return "elsewhere"


def _shares(counter: Counter[str], total: int, most: int = 80) -> dict[str, float]:
    return {name: number / total for name, number in counter.most_common(most)}
