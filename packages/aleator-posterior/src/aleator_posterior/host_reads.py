"""Notice programs that read their own draws on the host: what suits one draw may then steer all of them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Any, final

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from aleator.handlers.replay import ReplayMessenger
from aleator.handlers.trace import TraceMessenger
from aleator.infer.dependency import DependencyTracker
from aleator.infer.source_marker import SourceMarker
from aleator.runtime import Run
from aleator.validation import PendingChecks

__all__ = ["HostReads", "draws_read_by"]

_READS: frozenset[Callable[..., Any]] = frozenset(
    {
        Tensor.item,
        Tensor.tolist,
        Tensor.numpy,
        Tensor.__array__,
        Tensor.__bool__,
        Tensor.__int__,
        Tensor.__float__,
        Tensor.__index__,
        Tensor.nonzero,
        Tensor.unique,
        Tensor.equal,
        Tensor.allclose,
        Tensor.is_nonzero,
        Tensor.masked_select,
        torch.nonzero,
        torch.unique,
        torch.equal,
        torch.allclose,
        torch.is_nonzero,
        torch.masked_select,
    }
)


@final
class HostReads(TorchFunctionMode):
    """Notes whether anything was read on the host while a program ran: its draws, or what does not matter here.

    Attributes:
        found: whether anything was.
    """

    def __init__(self) -> None:
        super().__init__()
        self.found = False

    def watch(self, program: Callable[..., Any]) -> Callable[..., Any]:
        """Return a program whose reads are noted."""

        def run(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # the program's own
            with self:
                return program(*args, **kwargs)

        return run

    def __torch_function__(
        self,
        func: Any,  # noqa: ANN401  # torch's protocol
        types: Any,  # noqa: ANN401  # torch's protocol
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  # torch's protocol
        # torch's distributions look whether arguments are valid, and do nothing else with what they read.
        if func in _READS and not sys._getframe(1).f_globals.get("__name__", "").startswith("torch.distributions"):
            self.found = True
        return func(*args, **(kwargs or {}))


def draws_read_by(
    model: Callable[..., Any], guide: Callable[..., Any] | None, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> frozenset[str]:
    """Run the programs for one draw, and return the latent sites whose values they read on the host, or may have."""
    tracker = DependencyTracker()
    read: frozenset[str] = frozenset()
    with Run(checks=PendingChecks(keep=False)), tracker:
        proposed = None
        for program in (guide, model):
            if program is None:
                continue
            tracker.control = frozenset()
            with TraceMessenger() as trace, SourceMarker(tracker), ReplayMessenger(trace=proposed):
                program(*args, **kwargs)
            proposed = trace
            read |= tracker.control
    return read
