"""Densities of whole events whose derivative is written out: the terms of an event are summed where they arise.

A density per element that is summed afterwards costs a tensor of the draw's size forward and one backward, and each is
written and read in full. Taken together, forward makes only what backward will read, and backward only gradients.
"""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor

from aleator.distributions.own_derivatives import bit_log_prob, is_plain_backward, normal_derivatives

__all__ = [
    "bernoulli_event_log_prob",
    "normal_event_log_prob",
    "normal_event_log_prob_at_precision",
    "sum_of_event",
    "sum_rightmost",
]

_log_sigmoid_backward = torch.ops.aten.log_sigmoid_backward.default
_log_sigmoid_backward_into = torch.ops.aten.log_sigmoid_backward.grad_input
# Whether the pass that runs now keeps the graph for another; private in torch, so that it may go.
_keeps_graph = getattr(torch._C._autograd, "_get_current_graph_task_keep_graph", None)


def sum_rightmost(value: Tensor, ndims: int) -> Tensor:
    """Sum over so many rightmost dims, in one kernel."""
    if ndims == 0:
        return value
    return value.sum(-1) if ndims == 1 else value.sum(tuple(range(-ndims, 0)))


def bernoulli_event_log_prob(logits: Tensor, shift: Tensor, ndims: int) -> Tensor:
    """Return ``logsigmoid(logits) + logits * shift`` summed over ``ndims`` rightmost dims; both have one shape."""
    result: Tensor = _BernoulliEvent.apply(logits, shift, ndims)  # type: ignore[no-untyped-call]  # torch's
    return result


def normal_event_log_prob(value: Tensor, loc: Tensor, scale: Tensor, constant: float, ndims: int) -> Tensor:
    """Return ``constant - log(scale) - ((value - loc) / scale)**2 / 2`` summed; the value has the result's shape."""
    result: Tensor = _NormalEvent.apply(value, loc, scale, constant, ndims)  # type: ignore[no-untyped-call]  # torch's
    return result


def normal_event_log_prob_at_precision(
    difference: Tensor, log_factor: float, half_precision: float, ndims: int
) -> Tensor:
    """Return ``log_factor + half_precision * difference**2`` summed, with minus half the precision as a number."""
    result: Tensor = _SquareEvent.apply(difference, log_factor, half_precision, ndims)  # type: ignore[no-untyped-call]  # torch's
    return result


def widened(gradient: Tensor, ndims: int) -> Tensor:
    """Give the gradient of a sum the summed dims, of size 1."""
    return gradient[(..., *(None,) * ndims)]


def sum_of_event(term: Tensor, event_shape: torch.Size) -> Tensor:
    """Sum a term over the dims of an event to which it may have to be expanded; its batch dims stay as they are."""
    ndims = len(event_shape)
    return sum_rightmost(term.expand(term.shape[: max(term.dim() - ndims, 0)] + event_shape), ndims)


@final
class _BernoulliEvent(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, shift: Tensor, ndims: int) -> Tensor:  # noqa: ANN401  # torch's protocol
        log_prob, kept = bit_log_prob(logits, shift)
        ctx.save_for_backward(logits, shift, kept)
        ctx.ndims = ndims
        return sum_rightmost(log_prob, ndims)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:  # noqa: ANN401  # torch's protocol
        logits, shift, kept = ctx.saved_tensors
        gradient = widened(gradients[0], ctx.ndims)
        of_logits = of_shift = None
        if ctx.needs_input_grad[0]:
            if is_plain_backward():
                wide = gradient.expand(logits.shape)
                if kept.is_cpu and kept.shape == logits.shape and _keeps_graph is not None and not _keeps_graph():
                    # Nobody reads again what forward kept for this pass.
                    slope = _log_sigmoid_backward_into(wide, logits, kept, grad_input=kept)
                else:
                    slope = _log_sigmoid_backward(wide, logits, kept)
                of_logits = slope.addcmul_(wide, shift)
            else:
                of_logits = ((-logits).sigmoid() + shift) * gradient
        if ctx.needs_input_grad[1]:
            of_shift = gradient * logits
        return of_logits, of_shift, None


@final
class _NormalEvent(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, loc: Tensor, scale: Tensor, constant: float, ndims: int) -> Tensor:  # noqa: ANN401  # torch's
        standard = (value - loc).div_(scale)
        ctx.save_for_backward(value, loc, scale, standard)
        ctx.ndims = ndims
        log_factor = sum_of_event(constant - scale.log(), value.shape[value.dim() - ndims :])
        return torch.sub(log_factor, sum_rightmost(standard.square(), ndims), alpha=0.5)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:  # noqa: ANN401  # torch's protocol
        return *normal_derivatives(ctx, widened(gradients[0], ctx.ndims)), None, None


@final
class _SquareEvent(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, difference: Tensor, log_factor: float, half_precision: float, ndims: int) -> Tensor:  # noqa: ANN401  # torch's
        ctx.save_for_backward(difference)
        ctx.half_precision = half_precision
        ctx.ndims = ndims
        count = difference.shape[difference.dim() - ndims :].numel()
        return sum_rightmost(difference.square(), ndims).mul_(half_precision).add_(log_factor * count)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:  # noqa: ANN401  # torch's protocol
        (difference,) = ctx.saved_tensors
        return widened(gradients[0] * (2.0 * ctx.half_precision), ctx.ndims) * difference, None, None, None
