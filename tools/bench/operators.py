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

import torch
from torch.overrides import TorchFunctionMode
from torch.profiler import ProfilerActivity, profile

__all__ = ["Operators", "count"]

READS = {torch.Tensor.tolist: "tolist", torch.Tensor.numpy: "numpy"}
WAITING = frozenset({"_local_scalar_dense", "equal", "nonzero", "masked_select", "_unique2", *READS.values()})


@dataclass(frozen=True)
class Operators:
    """Operators of one run, by name; the forward pass, the backward pass and the optimizer together.

    An operator that is made of others (``randn``: ``empty``, ``normal_``) counts as those.
    """

    names: Mapping[str, int]

    @property
    def total(self) -> int:
        """All operators of the run."""
        return sum(self.names.values())

    @property
    def host_reads(self) -> int:
        """Operators for which the host waits for the device."""
        return sum(number for name, number in self.names.items() if name in WAITING)


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
    for event in profiled.events():
        parts = (child for child in event.cpu_children if child.name.startswith("aten::"))
        if event.name.startswith("aten::") and not any(parts):
            names[event.name.removeprefix("aten::")] += 1
    with _CountingReads() as counting:
        run()
    return Operators(dict((names + counting.names).most_common()))
