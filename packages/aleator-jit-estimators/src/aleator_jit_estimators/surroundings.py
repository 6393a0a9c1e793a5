"""The switches around a step that change what its program does."""

from __future__ import annotations

from typing import Any

import torch
from torch.utils._device import DeviceContext

from aleator import settings
from aleator.runtime import RUN, STACK
from aleator_jit_estimators.conditions import Conditions

# A transform of torch.func, or a dispatch mode: what aleator.randomness.is_interpreted asks for, without its frame.
INTERPRETERS = (torch._C._functorch.peek_interpreter_stack, torch._C._len_torch_dispatch_stack)

__all__ = ["interpreted_by", "say_surroundings", "surroundings"]


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


def say_surroundings(conditions: Conditions, stands_alone: bool) -> None:
    """Add the conditions that the switches are as they are, and that nothing stands between a program and torch.

    Args:
        conditions: what to add to.
        stands_alone: whether the code calls none of torch's kernels, so that their number of threads, precision and
            order of summing are nothing to it.
    """
    name = conditions.name
    conditions.say(f"not {name(STACK.get)}()")
    for reading in INTERPRETERS:
        conditions.say(f"not {name(reading)}()")
    now = surroundings()
    if now[-1] or now[3] or now[9] is not None:  # modes, autocast, reserved dims: seldom, and not one comparison each
        conditions.say(f"{name(surroundings)}() == {name(now)}")
        return
    for reading in (torch._C._len_torch_function_stack, torch._C._is_any_autocast_enabled):
        conditions.say(f"not {name(reading)}()")
    conditions.say(f"{name(RUN.get)}() is None and {name(settings._CURRENT.get)}() is {name(settings.get())}")
    conditions.say(f"{name(torch.get_default_dtype)}() is {name(torch.get_default_dtype())}")
    kernels = (
        torch._C._get_deterministic_algorithms,
        torch._C._get_float32_matmul_precision,
        torch.get_num_threads,
    )
    for switch in (torch.is_inference_mode_enabled, *(() if stands_alone else kernels)):
        conditions.say(f"{name(switch)}() == {switch()!r}")
    conditions.say(f"{name(torch.distributions.Distribution)}._validate_args is {name(now[7])}")


def interpreted_by() -> str | None:
    """Name what stands between a program and torch, so that its result may be anything; ``None`` where nothing does."""
    modes = torch.overrides._get_current_function_mode_stack()  # type: ignore[no-untyped-call]  # torch's
    own = [mode for mode in modes if isinstance(mode, DeviceContext)]
    return None if len(own) == len(modes) else f"the torch function mode {type(modes[-1]).__name__} is active"


def _autocast() -> tuple[Any, ...]:
    return tuple(torch.is_autocast_enabled(kind) and torch.get_autocast_dtype(kind) for kind in ("cpu", "cuda"))
