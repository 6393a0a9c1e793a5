"""When torch's fused kernels may be used, and what they need around them."""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["count_step_", "fits_fused_kernel", "rate_for_kernel"]

_DTYPES = {
    "cpu": (torch.float32, torch.float64, torch.float16, torch.bfloat16),
    # A CUDA kernel reads the learning rate in single precision: too coarse for double-precision parameters.
    "cuda": (torch.float32, torch.float16, torch.bfloat16),
}
_ONE = torch.ones(())


def fits_fused_kernel(params: list[Tensor], grads: list[Tensor], slots: list[dict[str, Tensor]]) -> bool:
    """Whether a fused kernel reads these tensors, of one dtype, device and shape each, as they are meant.

    The kernels walk over memory by the parameter's number of elements and trust all other tensors to be laid out the
    same way: an expanded gradient would be read past its end.
    """
    first = params[0]
    dtype, device = first.dtype, first.device
    if dtype not in _DTYPES.get(device.type, ()):
        return False
    for param, grad, slot in zip(params, grads, slots, strict=True):
        if grad.dtype is not dtype or grad.device != device:
            return False
        if not (param.is_contiguous() and grad.is_contiguous()):
            return False
        for key, kept in slot.items():
            if key != "step" and not (kept.dtype is dtype and kept.is_contiguous()):
                return False
    return True


def count_step_(slots: list[dict[str, Tensor]]) -> list[Tensor]:
    """Add one to every step count and return the counts."""
    counts = [slot["step"] for slot in slots]
    if counts[0].is_cpu:
        torch._foreach_add_(counts, [_ONE] * len(counts))  # a Python scalar would be wrapped once per tensor
    else:
        torch._foreach_add_(counts, 1)
    return counts


def rate_for_kernel(rate: Tensor, param: Tensor) -> Tensor:
    """Return the learning rate where the kernel for ``param`` reads it."""
    if param.is_cpu:
        return rate.to(param.device)
    return rate.to(device=param.device, dtype=torch.float32)
