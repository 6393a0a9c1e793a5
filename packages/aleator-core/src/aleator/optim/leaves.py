"""Parameters as an optimizer sees them: what kind of tensor each is, and which of them go together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from aleator.errors import ParameterError
from aleator.optim.optimizer import Params

__all__ = ["alike", "check_memory", "initial_rate", "rate_dtype", "real_view", "wide_dtype"]

_WIDE = {
    torch.float16: torch.float32,
    torch.bfloat16: torch.float32,
    torch.complex32: torch.float32,
    torch.complex64: torch.float32,
    torch.complex128: torch.float64,
}


def rate_dtype(device: torch.device) -> torch.dtype:
    """Return the precision of learning rates: double, where the device has it."""
    return torch.float32 if device.type == "mps" else torch.float64


def initial_rate(lr: float | Tensor, param: Tensor) -> Tensor:
    """Return a learning rate as a tensor of its own beside the parameter."""
    dtype = rate_dtype(param.device)
    if isinstance(lr, Tensor):
        return lr.detach().reshape(()).to(device=param.device, dtype=dtype, copy=True)
    return torch.full((), lr, dtype=dtype, device=param.device)


def wide_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the real dtype, of at least single precision, that a parameter's step is computed in."""
    return _WIDE.get(dtype, dtype)


def real_view(optimizer: str, name: str, param: object) -> Tensor:
    """Return a parameter as real numbers; a complex one gets a last dimension of two.

    Raises:
        TypeError: it is no tensor.
        ParameterError: it holds integers.
    """
    if not isinstance(param, Tensor):
        raise TypeError(f"{optimizer}: parameter {name!r} must be a tensor, found {type(param).__name__}")
    if param.is_complex():
        return torch.view_as_real(param.detach())
    if not param.is_floating_point():
        raise ParameterError(f"{optimizer}: parameter {name!r} must be floating-point, found {param.dtype}")
    return param.detach()


def check_memory(optimizer: str, name: str, param: Tensor, slots: Mapping[str, Tensor]) -> None:
    """Raise ``ParameterError`` where what is kept for a parameter has another shape than the parameter."""
    shape = (*param.shape, 2) if param.is_complex() else param.shape
    for key, kept in slots.items():
        if key != "step" and kept.shape != shape:
            raise ParameterError(
                f"{optimizer}: parameter {name!r} has shape {tuple(param.shape)}, but its {key} has shape "
                f"{tuple(kept.shape)}; a parameter that changes shape needs a new name, or a new state (init)"
            )


def alike(names: list[str], params: Params) -> Iterator[list[str]]:
    """Yield the names in lots of one dtype and one device."""
    kinds = {(params[name].dtype, params[name].device) for name in names}
    if len(kinds) <= 1:
        if names:
            yield names
        return
    lots: dict[tuple[torch.dtype, torch.device], list[str]] = {}
    for name in names:
        lots.setdefault((params[name].dtype, params[name].device), []).append(name)
    yield from lots.values()
