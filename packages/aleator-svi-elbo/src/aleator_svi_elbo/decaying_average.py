"""The decaying average of a site's costs over the steps of a run: a buffer of the run, one tensor per site."""

from __future__ import annotations

from typing import final

from torch import Tensor

from aleator import get_param_store
from aleator.infer import Factor
from aleator_svi_elbo.tracing import PARTICLES

__all__ = ["DecayingAverage"]


@final
class DecayingAverage:
    """One site's average as one particle sees it: it reads the old one, and writes nothing.

    The average has one value for each element of the site's plates. Elements are taken together, in a mean, where they
    are not the same ones in each step: those of a subsampled plate, and those of a plate whose size has changed since
    the average began. Where a plate is subsampled, its scale is divided out, so that a minibatch of another size finds
    the average in its own measure. Before the first step the average is zero.

    Args:
        factor: the site's.
        beta: the weight of the past.

    Attributes:
        buffer: the buffer's name in the store.
    """

    def __init__(self, factor: Factor, beta: float) -> None:
        self.buffer = f"baseline/{factor.name}"
        self._beta = beta
        self._scale = factor.plate_scale
        self._varying = {
            frame.dim
            for frame in factor.frames
            if frame.dim is not None and (frame.name == PARTICLES or frame.size != frame.full_size)
        }
        buffers = get_param_store().buffers
        self._old: Tensor | None = buffers[self.buffer] if self.buffer in buffers else None

    def value(self, cost: Tensor) -> Tensor | float:
        """Return the old average, to be subtracted from the costs."""
        if self._old is None:
            return 0.0
        old = _together(self._old, {-1 - at for at in range(self._old.dim()) if not _fits(self._old, cost, -1 - at)})
        return old if self._scale == 1.0 else old * self._scale

    def after(self, cost: Tensor) -> Tensor:
        """Return the next average, ``(1 - beta) * cost + beta * old``; of no elements, the old one."""
        old = self._old
        if cost.numel() == 0:
            return cost.new_zeros(()) if old is None else old
        if self._scale != 1.0:
            cost = cost / self._scale
        cost = _together(cost, self._varying)
        if old is None:
            return cost * (1.0 - self._beta)
        changed = {-1 - at for at in range(max(old.dim(), cost.dim())) if _size(old, -1 - at) != _size(cost, -1 - at)}
        return _together(cost, changed).lerp(_together(old, changed), self._beta)


def _size(tensor: Tensor, dim: int) -> int:
    return tensor.shape[dim] if tensor.dim() >= -dim else 1


def _fits(old: Tensor, cost: Tensor, dim: int) -> bool:
    return _size(old, dim) in (1, _size(cost, dim))


def _together(values: Tensor, dims: set[int]) -> Tensor:
    """Take the mean over dims, which stay with size 1, but for those at the left."""
    present = [dim for dim in dims if values.dim() >= -dim]
    if present:
        values = values.mean(present, keepdim=True)
    while values.dim() and values.shape[0] == 1:
        values = values.squeeze(0)
    return values
