"""The logarithm of a sum of weights, as one node of the graph."""

from __future__ import annotations

import math
from typing import Any, final

import torch
from torch import Tensor

from aleator.distributions.own_derivatives import only_autograd_looks_on
from aleator.ops import logsumexp

__all__ = ["log_sum_exp"]


def log_sum_exp(log_weight: Tensor) -> Tensor:
    """Return ``log(sum(exp(log_weight)))`` over dim 0; where all are minus infinity its gradient is zero.

    As ``aleator.ops.logsumexp``, with its derivative written out: an eager step then pays for one node, not for seven.
    Under a transform, a capture and in forward mode it is that function itself.
    """
    is_plain = log_weight.__class__ is Tensor and log_weight.is_floating_point() and log_weight.numel()
    is_differentiated = log_weight.requires_grad and torch.is_grad_enabled()
    if not (is_plain and is_differentiated and only_autograd_looks_on()):
        return logsumexp(log_weight, 0)
    total: Tensor = _LogSumExp.apply(log_weight)  # type: ignore[no-untyped-call]  # torch's
    return total


@final
class _LogSumExp(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, log_weight: Tensor) -> Tensor:  # noqa: ANN401  # torch's protocol
        total = torch.logsumexp(log_weight, 0)
        ctx.save_for_backward(log_weight, total)
        return total

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:  # noqa: ANN401  # torch's protocol
        log_weight, total = ctx.saved_tensors
        # Shares by softmax: a difference from the total would lose the digits that large logarithms have in common.
        weightless = total == -math.inf
        shares = torch.softmax(log_weight.masked_fill(weightless, 0.0), 0)
        return shares * gradients[0].masked_fill(weightless, 0.0)
