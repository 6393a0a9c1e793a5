"""Tell whether tensors hold readable numbers now, or stand for numbers that a transform will put in later."""

from __future__ import annotations

import sys

import torch

__all__ = ["values_are_readable"]

_peek_functorch = getattr(torch._C._functorch, "peek_interpreter_stack", None)


def values_are_readable() -> bool:
    """Return False while ``make_fx``, Dynamo or a ``torch.func`` transform runs the program.

    Checks of values read numbers on the host; under a capture such a read would fail, or be baked into the graph.
    """
    if torch.compiler.is_compiling():
        return False
    if _peek_functorch is not None and _peek_functorch() is not None:
        return False
    proxy_tensor = sys.modules.get("torch.fx.experimental.proxy_tensor")
    return proxy_tensor is None or proxy_tensor.get_proxy_mode() is None
