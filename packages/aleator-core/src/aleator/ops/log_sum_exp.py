"""The logarithm of a sum of exponentials, also where there is nothing to sum."""

from __future__ import annotations

import torch
from torch import Tensor

from aleator.randomness import is_interpreted

__all__ = ["logsumexp"]


def logsumexp(
    input: Tensor,
    dim: int | tuple[int, ...],
    keepdim: bool = False,
    out: Tensor | None = None,
) -> Tensor:
    """Return ``log(sum(exp(input)))`` over one or several dims, with a gradient wherever the value is minus infinity.

    Torch's own gives the same values; its gradient is NaN where all elements of a row are minus infinity, and one such
    row (an impossible state, a particle without weight) spoils every parameter. Here that row's gradient is zero.

    Args:
        input: a tensor; integers are converted to the default dtype.
        dim: the dim or dims to sum over.
        keepdim: whether they stay, with size 1.
        out: where to write the result; then there is no gradient, as in torch.

    Example:
        >>> import torch
        >>> from aleator.ops import logsumexp
        >>> x = torch.full((2,), -torch.inf, requires_grad=True)
        >>> logsumexp(x, 0).backward()
        >>> x.grad
        tensor([0., 0.])
    """
    if not input.is_floating_point():
        input = input.to(torch.get_default_dtype())
    if out is not None:
        return torch.logsumexp(input, dim, keepdim, out=out)
    needs_gradient = (input.requires_grad and torch.is_grad_enabled()) or is_interpreted()
    if not needs_gradient or input.numel() == 0 or input.dim() == 0:
        return torch.logsumexp(input, dim, keepdim)
    limits = torch.finfo(input.dtype)
    largest = input.detach().amax(dim, keepdim=True)
    # A finite shift keeps "minus infinity less minus infinity" out; the sum is at least 1 unless the row is empty.
    total = (input - largest.clamp(min=limits.min, max=limits.max)).exp().sum(dim, keepdim=True)
    result = total.clamp(min=limits.tiny).log() + largest
    return result if keepdim else result.squeeze(dim)
