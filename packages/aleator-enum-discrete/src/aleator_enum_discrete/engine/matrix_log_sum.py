"""The log-sum-exp of pairs of tables as a product of matrices, where nothing is lost by it."""

from __future__ import annotations

import torch
from torch import Tensor

from aleator.capture import values_are_readable
from aleator.ops import logsumexp

__all__ = ["matrix_log_sum"]


def matrix_log_sum(left: Tensor, right: Tensor) -> Tensor:
    """Return ``logsumexp(left[b, i, :] + right[b, :, j])`` for logarithms of shapes ``(b, i, s)`` and ``(b, s, j)``.

    Rows and columns are scaled to a maximum of 1, multiplied, and scaled back. That loses what lies below the smallest
    normal number, so the result is kept only where each sum is far above it, or where it is empty; otherwise the
    logarithms are summed as such. In a capture, which cannot ask, they always are.

    Example:
        >>> import torch
        >>> left, right = torch.tensor([[[0.0, -800.0]]]), torch.tensor([[[-800.0], [0.0]]])
        >>> matrix_log_sum(left, right).item()
        -799.3068...
    """
    if not values_are_readable():
        return _broadcast(left, right)
    row, column = _scale(left, 2), _scale(right, 1)
    row_weights, column_weights = (left - row).exp(), (right - column).exp()
    total = torch.bmm(row_weights, column_weights)
    limits = torch.finfo(total.dtype)
    threshold = limits.tiny / limits.eps**2
    if total.numel() == 0 or total.amin().item() >= threshold:
        return total.log() + row + column
    with torch.no_grad():
        possible = torch.bmm((left > -torch.inf).to(total.dtype), (right > -torch.inf).to(total.dtype))
        exact = ((total >= threshold) | (possible == 0)).all()
    if not exact.item():
        return _broadcast(left, right)
    empty = possible == 0
    logarithm = total.masked_fill(empty, 1.0).log() + row + column
    return logarithm.masked_fill(empty, -torch.inf)


def _scale(table: Tensor, dim: int) -> Tensor:
    return table.detach().amax(dim, keepdim=True).clamp(min=torch.finfo(table.dtype).min)


def _broadcast(left: Tensor, right: Tensor) -> Tensor:
    return logsumexp(left.unsqueeze(2) + right.transpose(1, 2).unsqueeze(1), 3)
