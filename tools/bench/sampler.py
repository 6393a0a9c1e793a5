"""Where the time of a program goes, found by interrupting it: each interrupt notes the Python stack that it met.

Unlike a tracing profiler it adds nothing to a call, so that many small functions are not made to look dear. An
interrupt that falls inside torch is noted when Python goes on: in the function that called torch, or in a hook that
torch called (so a hook of the backward pass itself counts as backward pass). A stack is charged to the innermost frame
that a rule knows; rules are read from the top.
"""

from __future__ import annotations

import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from types import FrameType

__all__ = ["Breakdown", "sample_stacks"]

# (what the file's path contains, function names or none for all of them, what the time is charged to)
RULES: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("torch/autograd/", (), "backward pass"),
    ("pyro/util.py", ("<lambda>",), "backward pass"),
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
    ("/distributions/", ("__init__", "__call__$new", "to_event", "expand", "expand_by", "reshape"), "constructors"),
    ("/distributions/", ("rsample", "sample", "__call__"), "draws"),
    ("/distributions/", ("log_prob", "score_parts", "kl_divergence", "entropy"), "log_prob"),
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
    """Shares of the interrupts: by what the time is charged to, by function alone, and by function with its callees."""

    samples: int
    charged: Mapping[str, float]
    own: Mapping[str, float]
    within: Mapping[str, float]


def sample_stacks(run: Callable[[], object], seconds: float, interval: float = 0.001) -> Breakdown:
    """Repeat ``run`` for so many seconds of processor time, noting the stack at every interval of it."""
    charged: Counter[str] = Counter()
    own: Counter[str] = Counter()
    within: Counter[str] = Counter()

    def note(_signal: int, frame: FrameType | None) -> None:
        stack = list(_outward(frame))
        if not any(f.f_code is run_code for f in stack) and len(stack) < 3:
            return
        charged[_charge(stack)] += 1
        own[_label(stack[0])] += 1
        within.update({_label(f) for f in stack})

    run_code = getattr(run, "__code__", None)
    with _interrupts(note, interval):
        end = time.process_time() + seconds
        while time.process_time() < end:
            for _ in range(10):
                run()
    total = max(sum(charged.values()), 1)
    return Breakdown(total, _shares(charged, total), _shares(own, total), _shares(within, total))


@contextmanager
def _interrupts(note: Callable[[int, FrameType | None], None], interval: float) -> Iterator[None]:
    before = signal.signal(signal.SIGPROF, note)
    signal.setitimer(signal.ITIMER_PROF, interval, interval)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0.0)
        signal.signal(signal.SIGPROF, before)


def _outward(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None and frame.f_code.co_name != "sample_stacks":
        yield frame
        frame = frame.f_back


def _charge(stack: list[FrameType]) -> str:
    for frame in stack:
        path, function = frame.f_code.co_filename, frame.f_code.co_name
        if any(part in path for part in TRANSPARENT):
            continue
        for part, functions, charge in RULES:
            if part in path and (not functions or function in functions):
                return charge
    return "elsewhere"


def _label(frame: FrameType) -> str:
    path = frame.f_code.co_filename.replace("\\", "/")
    place = path.split("/site-packages/")[-1].split("/src/")[-1].split("/tools/")[-1]
    return f"{place}:{frame.f_code.co_qualname}"


def _shares(counter: Counter[str], total: int, most: int = 60) -> dict[str, float]:
    return {name: number / total for name, number in counter.most_common(most)}
