"""Densities whose derivative is written out: one node of the graph instead of one per operation.

Autograd keeps what each operation has read, and adds up what comes back from each. Written out, a derivative takes
fewer kernels and keeps less, which pays on large tensors; on small ones a node in Python costs more than it saves.
"""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor
from torch.autograd import forward_ad

from aleator.randomness import is_interpreted

__all__ = [
    "LEAST_ELEMENTS",
    "bernoulli_log_prob",
    "bit_log_prob",
    "is_plain_backward",
    "normal_derivatives",
    "normal_log_prob",
    "normal_log_prob_at_precision",
    "only_autograd_looks_on",
    "own_derivative_pays",
]

LEAST_ELEMENTS = 65536
"""From this size of the result on, a node in Python costs less than the kernels that it saves."""

_PLAIN_CLASSES = (Tensor, torch.nn.Parameter)
_log_sigmoid = torch.ops.aten.log_sigmoid_forward.default
_log_sigmoid_backward = torch.ops.aten.log_sigmoid_backward.default
_DTYPES = (torch.float32, torch.float64)


def own_derivative_pays(value: Tensor, *arguments: Any) -> bool:  # noqa: ANN401  # tensors or numbers
    """Tell whether to take the written-out derivative for a density of this value: large, eager, and differentiated.

    Under a transform, a capture and in forward mode the plain formula is what torch knows how to transform.

    Args:
        value: expanded to the shape of the result.
        arguments: tensors or numbers; a tensor of another dtype asks for torch's promotion.
    """
    if value.numel() < LEAST_ELEMENTS or value.dtype not in _DTYPES or not torch.is_grad_enabled():
        return False
    differentiated = value.requires_grad
    for argument in arguments:
        if isinstance(argument, Tensor):
            if argument.__class__ not in _PLAIN_CLASSES or argument.dtype is not value.dtype:
                return False
            differentiated = differentiated or argument.requires_grad
    return differentiated and value.__class__ in _PLAIN_CLASSES and only_autograd_looks_on()


def only_autograd_looks_on() -> bool:
    """Tell whether no transform, no capture and no forward mode needs operations that it can follow."""
    return forward_ad._current_level < 0 and not (
        is_interpreted() or torch.compiler.is_compiling() or torch._C._is_tracing()
    )


def bernoulli_log_prob(logits: Tensor, shift: Tensor) -> Tensor:
    """Return ``logsigmoid(logits) + logits * shift``, where ``shift`` is the value less one at the result's shape."""
    result: Tensor = _BernoulliLogProb.apply(logits, shift)  # type: ignore[no-untyped-call]  # torch's
    return result


def normal_log_prob(value: Tensor, loc: Tensor, scale: Tensor, constant: Tensor) -> Tensor:
    """Return ``constant - log(scale) - ((value - loc) / scale)**2 / 2``; the value has the result's shape."""
    result: Tensor = _NormalLogProb.apply(value, loc, scale, constant)  # type: ignore[no-untyped-call]  # torch's
    return result


def normal_log_prob_at_precision(difference: Tensor, log_factor: Tensor, half_precision: float) -> Tensor:
    """Return ``log_factor + half_precision * difference**2``, with minus half the precision as a number."""
    result: Tensor = _SquareLogProb.apply(difference, log_factor, half_precision)  # type: ignore[no-untyped-call]  # torch's
    return result


def is_plain_backward() -> bool:
    """Whether a backward pass only needs numbers: no graph of its own, nor several gradients at once."""
    return not (torch.is_grad_enabled() or is_interpreted())


def bit_log_prob(logits: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
    """Return ``logsigmoid(logits) + logits * shift``, and what backward reads.

    Torch's own pair for logsigmoid: what its forward keeps spares its backward an exponential.
    """
    log_success, kept = _log_sigmoid(logits)
    if logits.shape == shift.shape:
        return log_success.addcmul_(logits, shift), kept
    return torch.addcmul(log_success, logits, shift), kept


@final
class _BernoulliLogProb(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, logits: Tensor, shift: Tensor) -> Tensor:  # noqa: ANN401  # torch's protocol
        log_prob, kept = bit_log_prob(logits, shift)
        ctx.save_for_backward(logits, shift, kept)
        return log_prob

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:  # noqa: ANN401  # torch's protocol
        (gradient,) = gradients
        logits, shift, kept = ctx.saved_tensors
        of_logits = of_shift = None
        if ctx.needs_input_grad[0]:
            if logits.shape == shift.shape and is_plain_backward():
                of_logits = _log_sigmoid_backward(gradient, logits, kept).addcmul_(gradient, shift)
            else:
                of_logits = (((-logits).sigmoid() + shift) * gradient).sum_to_size(logits.shape)
        if ctx.needs_input_grad[1]:
            of_shift = gradient * logits
        return of_logits, of_shift


def normal_derivatives(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:  # noqa: ANN401  # torch's context
    """Return the gradients in the value, at the result's shape, and in loc and scale of a normal's log-densities.

    Args:
        ctx: keeps value, loc, scale and the standardized value.
        gradient: of the log-densities, one for each.
    """
    value, loc, scale, standard = ctx.saved_tensors
    if torch.is_grad_enabled():
        # What was kept is a number; a second derivative needs it as a function of the inputs.
        standard = (value - loc) / scale
    of_value = of_loc = of_scale = None
    weighted = gradient * standard
    if ctx.needs_input_grad[2]:
        less = torch.addcmul(gradient, weighted, standard, value=-1.0)
        of_scale = less.sum_to_size(scale.shape) / -scale
    if ctx.needs_input_grad[0] or ctx.needs_input_grad[1]:
        of_value = weighted.div_(-scale) if is_plain_backward() else weighted / -scale
        if ctx.needs_input_grad[1]:
            of_loc = -of_value.sum_to_size(loc.shape)
    return of_value, of_loc, of_scale


@final
class _NormalLogProb(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, value: Tensor, loc: Tensor, scale: Tensor, constant: Tensor) -> Tensor:  # noqa: ANN401  # torch's
        standard = (value - loc).div_(scale)
        ctx.save_for_backward(value, loc, scale, standard)
        return torch.addcmul(constant - scale.log(), standard, standard, value=-0.5)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:  # noqa: ANN401  # torch's protocol
        of_value, of_loc, of_scale = normal_derivatives(ctx, gradients[0])
        return None if of_value is None else of_value.sum_to_size(ctx.saved_tensors[0].shape), of_loc, of_scale, None


@final
class _SquareLogProb(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, difference: Tensor, log_factor: Tensor, half_precision: float) -> Tensor:  # noqa: ANN401  # torch's
        ctx.save_for_backward(difference)
        ctx.half_precision = half_precision
        return torch.addcmul(log_factor, difference, difference, value=half_precision)

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:  # noqa: ANN401  # torch's protocol
        (gradient,) = gradients
        (difference,) = ctx.saved_tensors
        slope = gradient * difference
        factor = 2.0 * ctx.half_precision
        return slope.mul_(factor) if is_plain_backward() else slope * factor, None, None
