"""Tell whether tensors hold readable numbers now, or stand for numbers that a transform will put in later."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch

__all__ = ["recording", "values_are_readable"]

_RECORDING: ContextVar[bool] = ContextVar("aleator_recording", default=False)


@contextmanager
def recording() -> Iterator[None]:
    """Say that what runs in a block is recorded, to be played again on other numbers.

    Example:
        >>> with recording():
        ...     values_are_readable()
        False
    """
    token = _RECORDING.set(True)
    try:
        yield
    finally:
        _RECORDING.reset(token)


_peek_functorch = getattr(torch._C._functorch, "peek_interpreter_stack", None)


def values_are_readable() -> bool:
    """Return False while ``make_fx``, Dynamo, a ``torch.func`` transform or a recorder runs the program.

    Checks of values read numbers on the host; under a capture such a read would fail, or be baked into the graph.
    """
    if _RECORDING.get() or torch.compiler.is_compiling():
        return False
    if _peek_functorch is not None and _peek_functorch() is not None:
        return False
    proxy_tensor = sys.modules.get("torch.fx.experimental.proxy_tensor")
    return proxy_tensor is None or proxy_tensor.get_proxy_mode() is None
