"""The switches around a step that change what its program does."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._device import DeviceContext

from aleator import settings
from aleator.runtime import RUN

__all__ = ["interpreted_by", "surroundings"]


def surroundings() -> tuple[Any, ...]:
    """Return the switches of this thread and context, as part of a key; all of them are the same in another process."""
    modes = torch._C._len_torch_function_stack()
    run = RUN.get()
    return (
        torch.get_default_dtype(),
        torch.get_default_device() if modes else None,  # a default device is kept as a mode
        torch.is_inference_mode_enabled(),
        _autocast() if torch._C._is_any_autocast_enabled() else None,
        torch.are_deterministic_algorithms_enabled(),
        torch.get_float32_matmul_precision(),
        torch.get_num_threads(),
        torch.distributions.Distribution._validate_args,
        settings.get(),
        None if run is None else tuple(run.reserved),
        modes,
    )


def interpreted_by() -> str | None:
    """Name what stands between a program and torch, so that its result may be anything; ``None`` where nothing does."""
    modes = torch.overrides._get_current_function_mode_stack()  # type: ignore[no-untyped-call]  # torch's
    own = [mode for mode in modes if isinstance(mode, DeviceContext)]
    return None if len(own) == len(modes) else f"the torch function mode {type(modes[-1]).__name__} is active"


def _autocast() -> tuple[Any, ...]:
    return tuple(torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) for kind in ("cpu", "cuda"))
