"""Torch's transforms computed in fewer kernels: a parameter is read in every step, and each kernel has its price.

Torch composes ``positive`` as ``0 + 1 * exp(u)``, ``greater_than(a)`` as ``a + 1 * exp(u)``, and a softmax from five
operations. The values are the same: bit for bit in the first two cases, up to rounding in the third.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor
from torch.distributions import transforms

__all__ = ["forward_of", "lean"]


@final
class _Shift(transforms.AffineTransform):
    """``loc + x`` or ``loc - x``: an affine transform of scale 1 or -1."""

    def _call(self, x: Tensor) -> Tensor:
        shifted: Tensor = self.loc + x if self.scale == 1 else self.loc - x
        return shifted


@final
class _Softmax(transforms.SoftmaxTransform):
    """The softmax in one kernel."""

    def _call(self, x: Tensor) -> Tensor:
        return torch.softmax(x, -1)


def lean(transform: Any) -> Any:  # noqa: ANN401  # torch's transforms have untyped constructors
    """Return a transform that gives the same values in fewer kernels, or the given one.

    Example:
        >>> from torch.distributions import constraints, transform_to
        >>> lean(transform_to(constraints.positive))
        ExpTransform()
    """
    kind = type(transform)
    if kind is transforms.ComposeTransform:
        parts = [lean(part) for part in transform.parts if not _does_nothing(part)]
        return parts[0] if len(parts) == 1 else transforms.ComposeTransform(parts)
    if kind is transforms.IndependentTransform:
        return transforms.IndependentTransform(lean(transform.base_transform), transform.reinterpreted_batch_ndims)
    if kind is transforms.SoftmaxTransform:
        return _Softmax()
    if kind is transforms.AffineTransform and not isinstance(transform.scale, Tensor) and abs(transform.scale) == 1:
        return _Shift(transform.loc, transform.scale, transform.event_dim)
    return transform


def forward_of(transform: transforms.Transform) -> Callable[[Tensor], Tensor]:
    """Return the function that a transform computes, without the calls in between where it keeps no cache."""
    forward: Callable[[Tensor], Tensor] = transform
    if type(transform) is transforms.ExpTransform and not transform._cache_size:
        forward = torch.exp
    elif type(transform).__call__ is transforms.Transform.__call__ and not transform._cache_size:
        forward = transform._call
    return forward


def _does_nothing(transform: object) -> bool:
    return (
        type(transform) is transforms.AffineTransform
        and not isinstance(transform.loc, Tensor)
        and not isinstance(transform.scale, Tensor)
        and transform.loc == 0
        and transform.scale == 1
    )
