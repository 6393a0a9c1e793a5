"""Counts what a step asks of torch: operators dispatched, and reads that wait for the device.

A read of a number (``item()``, ``bool(tensor)``, ``float(tensor)``) reaches the dispatcher as ``_local_scalar_dense``;
on an accelerator it waits for everything queued before it. ``equal``, ``nonzero`` and what builds on them wait as well.
``tolist()`` and ``numpy()`` dispatch nothing for a tensor on the CPU, so these calls are counted where they are made.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

__all__ = ["Operators", "count"]

READS = {torch.Tensor.tolist: "tolist", torch.Tensor.numpy: "numpy"}
WAITING = frozenset({"_local_scalar_dense", "equal", "nonzero", "masked_select", "_unique2", *READS.values()})


@dataclass(frozen=True)
class Operators:
    """Operators of one run, by name; the forward pass, the backward pass and the optimizer together."""

    names: Mapping[str, int]

    @property
    def total(self) -> int:
        """All operators dispatched in the run."""
        return sum(self.names.values())

    @property
    def host_reads(self) -> int:
        """Operators for which the host waits for the device."""
        return sum(number for name, number in self.names.items() if name in WAITING)


class _Counting(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.names: Counter[str] = Counter()

    def __torch_dispatch__(
        self,
        func: torch._ops.OpOverload,
        types: Sequence[type],
        args: tuple[object, ...] = (),
        kwargs: Mapping[str, object] | None = None,
    ) -> object:
        self.names[func.overloadpacket.__name__] += 1
        return func(*args, **(kwargs or {}))


class _CountingReads(TorchFunctionMode):
    def __init__(self, names: Counter[str]) -> None:
        super().__init__()
        self.names = names

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
    """Run once and count; what a first run does once (lazy initialization) should have happened before."""
    with _Counting() as counting, _CountingReads(counting.names):
        run()
    return Operators(dict(counting.names.most_common()))
