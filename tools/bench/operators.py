"""Counts what a step asks of torch: kernels, and reads that wait for the device.

Torch's profiler counts, because it changes no path: under a dispatch mode a library may take another one. A read of a
number (``item()``, ``bool(tensor)``, ``float(tensor)``) is seen as ``aten::_local_scalar_dense``; on an accelerator it
waits for everything queued before it, and ``equal``, ``nonzero`` and what builds on them wait as well. ``tolist()`` and
``numpy()`` run no operator for a tensor on the CPU, so these calls are counted where they are made, in a second run.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch.overrides import TorchFunctionMode
from torch.profiler import ProfilerActivity, profile

if TYPE_CHECKING:
    from torch.autograd.profiler_util import FunctionEvent

__all__ = ["Operators", "count"]

READS = {torch.Tensor.tolist: "tolist", torch.Tensor.numpy: "numpy"}
WAITING = frozenset({"_local_scalar_dense", "equal", "nonzero", "masked_select", "_unique2", *READS.values()})


@dataclass(frozen=True)
class Operators:
    """Operators of one run: the forward pass, the backward pass and the optimizer together.

    Attributes:
        names: how often each was called, by name; what an operator calls in turn is not counted.
        host_reads: for which operators the host waits for the device, wherever they were called from.
    """

    names: Mapping[str, int]
    host_reads: Mapping[str, int]


class _CountingReads(TorchFunctionMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: Counter[str] = Counter()

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: Sequence[type],
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        if func in READS:
            self.names[READS[func]] += 1
        return func(*args, **(kwargs or {}))


def count(run: Callable[[], object]) -> Operators:
    """Run a few times and count for one run; what a first run does once should have happened before."""
    with profile(activities=[ProfilerActivity.CPU]):
        run()  # what the profiler itself does once
    with profile(activities=[ProfilerActivity.CPU]) as profiled:
        run()
    names: Counter[str] = Counter()
    reads: Counter[str] = Counter()
    for event in profiled.events():
        if event.name.startswith("aten::"):
            name = event.name.removeprefix("aten::")
            caller = _caller(event)
            if caller is None:
                names[name] += 1
            if name in WAITING:
                reads[f"{name} in {caller}" if caller else name] += 1
    with _CountingReads() as counting:
        run()
    return Operators(dict((names + counting.names).most_common()), dict(reads + counting.names))


def _caller(event: FunctionEvent) -> str | None:
    """The outermost operator around an event, if there is one."""
    found = None
    while event.cpu_parent is not None:
        event = event.cpu_parent
        if event.name.startswith("aten::"):
            found = event.name.removeprefix("aten::")
    return found
