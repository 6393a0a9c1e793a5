"""Sum a tensor over all dims but some, which are named from the right."""

from __future__ import annotations

from collections.abc import Collection

from torch import Tensor

__all__ = ["sum_to_dims"]


def sum_to_dims(value: Tensor, dims: Collection[int]) -> Tensor:
    """Sum over every dim that is not kept; kept dims stay where they are, dims of size 1 between them too.

    Args:
        value: any tensor.
        dims: negative dims to keep.

    Returns:
        A scalar where no dim is kept; else a tensor with as many dims as the leftmost kept one needs.
    """
    if value.dim() == 0:
        return value
    if not dims:
        return value.sum()
    width = -min(dims)
    drop = [dim for dim in range(-value.dim(), 0) if dim not in dims and value.shape[dim] != 1]
    if drop:
        value = value.sum(drop, keepdim=True)
    while value.dim() > width:
        value = value.squeeze(0)
    return value
