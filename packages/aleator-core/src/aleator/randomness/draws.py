"""Draw functions: each takes the context's generator, and reads no value on the host.

What they do can be recorded by ``make_fx`` and mapped by ``torch.func.vmap(randomness="different")``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from aleator.randomness.context import SOURCE

__all__ = [
    "bernoulli",
    "binomial",
    "cauchy",
    "dirichlet",
    "exponential",
    "gamma",
    "is_interpreted",
    "multinomial",
    "normal",
    "permutation",
    "poisson",
    "uniform",
]

_peek_functorch = torch._C._functorch.peek_interpreter_stack
_dispatch_modes = torch._C._len_torch_dispatch_stack


def normal(
    shape: Sequence[int],
    dtype: torch.dtype | None = None,
    device: torch.device | None = None,
    like: Tensor | None = None,
) -> Tensor:
    """Draw standard normals of a shape, in the dtype and on the device given, or in those of ``like``."""
    if is_interpreted():
        dtype, device = _kind(dtype, device, like)
        return torch.randn(shape, dtype=dtype, device=device, generator=_generator(device))
    if like is None:
        return torch.empty(shape, dtype=dtype, device=device).normal_(generator=_generator(device))
    if like.shape != shape:
        return like.new_empty(shape).normal_(generator=_generator(like.device))
    if SOURCE.get() is None and like.is_contiguous():
        return torch.randn_like(like)
    return _empty(shape, like).normal_(generator=_generator(like.device))


def uniform(
    shape: Sequence[int],
    low: float = 0.0,
    high: float = 1.0,
    dtype: torch.dtype | None = None,
    device: torch.device | None = None,
    like: Tensor | None = None,
) -> Tensor:
    """Draw uniforms in ``[low, high)``; see :func:`normal` for the other arguments."""
    return _fillable(shape, dtype, device, like).uniform_(low, high, generator=_generator(_device(device, like)))


def exponential(
    shape: Sequence[int],
    dtype: torch.dtype | None = None,
    device: torch.device | None = None,
    like: Tensor | None = None,
) -> Tensor:
    """Draw exponentials of rate 1; see :func:`normal` for the arguments."""
    return _fillable(shape, dtype, device, like).exponential_(generator=_generator(_device(device, like)))


def cauchy(
    shape: Sequence[int],
    dtype: torch.dtype | None = None,
    device: torch.device | None = None,
    like: Tensor | None = None,
) -> Tensor:
    """Draw standard Cauchy values; see :func:`normal` for the arguments."""
    return _fillable(shape, dtype, device, like).cauchy_(generator=_generator(_device(device, like)))


def gamma(concentration: Tensor) -> Tensor:
    """Draw gammas of rate 1, elementwise, with the implicit gradient in the concentration (Figurnov et al. 2018)."""
    return torch._standard_gamma(concentration, generator=_generator(concentration.device))


def dirichlet(concentration: Tensor) -> Tensor:
    """Draw points of the simplex over the last dim, with the implicit gradient in the concentration."""
    generator = _generator(concentration.device)
    if _peek_functorch() is not None:
        draws: Tensor = _MappableDirichlet.apply(concentration, generator)  # type: ignore[no-untyped-call]  # torch's apply
    elif concentration.requires_grad and torch.is_grad_enabled():
        draws = _Dirichlet.apply(concentration, generator)  # type: ignore[no-untyped-call]  # torch's apply is untyped
    else:
        draws = torch._sample_dirichlet(concentration, generator=generator)
    return draws


def poisson(rate: Tensor) -> Tensor:
    """Draw Poisson counts, elementwise, in the dtype of the rate."""
    return torch.poisson(rate.detach(), generator=_generator(rate.device))


def bernoulli(probs: Tensor) -> Tensor:
    """Draw zeros and ones, elementwise, in the dtype of the probabilities."""
    return torch.bernoulli(probs.detach(), generator=_generator(probs.device))


def binomial(total_count: Tensor, probs: Tensor) -> Tensor:
    """Draw numbers of successes, elementwise; both arguments have one dtype, and the draws have it too."""
    if _peek_functorch() is not None:
        # torch's batching rule wants both arguments mapped, or none: the sum with a zero makes them so.
        total_count, probs = total_count + torch.zeros_like(probs), probs + torch.zeros_like(total_count)
    return torch.binomial(total_count.detach(), probs.detach(), generator=_generator(probs.device))


def multinomial(probs: Tensor, num_samples: int, replacement: bool = True) -> Tensor:
    """Draw indices by the (unnormalized) probabilities along the last dim of a vector or matrix."""
    return torch.multinomial(probs, num_samples, replacement, generator=_generator(probs.device))


def permutation(n: int, k: int | None = None, device: torch.device | None = None) -> Tensor:
    """Draw a permutation of ``range(n)``, or its first ``k`` elements: a subset without replacement."""
    order = torch.randperm(n, device=device, generator=_generator(device))
    return order if k is None or k >= n else order[:k].clone()


class _Dirichlet(torch.autograd.Function):
    """A Dirichlet draw from a given generator (torch's own function takes none)."""

    @staticmethod
    def forward(ctx: Any, concentration: Tensor, generator: torch.Generator | None) -> Tensor:  # noqa: ANN401  # torch's
        draws = torch._sample_dirichlet(concentration, generator=generator)
        ctx.save_for_backward(draws, concentration)
        return draws

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401  # torch's context
        draws, concentration = ctx.saved_tensors
        total = concentration.sum(-1, True).expand_as(concentration)
        slope = torch._dirichlet_grad(draws, concentration, total)
        return slope * (grad - (draws * grad).sum(-1, True)), None


class _MappableDirichlet(torch.autograd.Function):
    """The same in the form that ``torch.func`` asks for, in which a call takes several times as long."""

    generate_vmap_rule = True

    @staticmethod
    def forward(concentration: Tensor, generator: torch.Generator | None) -> Tensor:
        return torch._sample_dirichlet(concentration, generator=generator)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:  # noqa: ANN401  # torch's context
        ctx.save_for_backward(output, inputs[0])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:  # noqa: ANN401  # torch's context
        gradient: tuple[Tensor, None] = _Dirichlet.backward(ctx, grad)
        return gradient


def is_interpreted() -> bool:
    """Whether a ``torch.func`` transform or a dispatch mode (``make_fx``) interprets what torch is told to do."""
    return _peek_functorch() is not None or _dispatch_modes() > 0


def _generator(device: torch.device | str | None) -> torch.Generator | None:
    """The generator to draw with; ``None``, the process's own, where there is no source, or a graph is recorded."""
    source = SOURCE.get()
    if source is None:
        return None
    if _dispatch_modes() > 0:
        proxy_tensor = sys.modules.get("torch.fx.experimental.proxy_tensor")
        if proxy_tensor is not None and proxy_tensor.get_proxy_mode() is not None:
            return None
    return source.generator(device if device is not None else torch.get_default_device())


def _device(device: torch.device | None, like: Tensor | None) -> torch.device | None:
    return device if like is None else like.device


def _kind(
    dtype: torch.dtype | None, device: torch.device | None, like: Tensor | None
) -> tuple[torch.dtype | None, torch.device | None]:
    return (dtype, device) if like is None else (like.dtype, like.device)


def _empty(shape: Sequence[int], like: Tensor) -> Tensor:
    """Memory to fill, always in row-major order, so that the shape alone says which draw goes where."""
    if like.shape == shape:
        return torch.empty_like(like, memory_format=torch.contiguous_format, requires_grad=False)
    return like.new_empty(shape)


def _fillable(
    shape: Sequence[int], dtype: torch.dtype | None, device: torch.device | None, like: Tensor | None
) -> Tensor:
    """Memory that an in-place draw may fill: under ``vmap`` it must have the mapped dim, which only a draw gives it."""
    if like is not None and not is_interpreted():
        return _empty(shape, like)
    dtype, device = _kind(dtype, device, like)
    if _is_mapped():
        return torch.rand(shape, dtype=dtype, device=device, generator=_generator(device))
    return torch.empty(shape, dtype=dtype, device=device)


def _is_mapped() -> bool:
    """Whether one of the transforms at work is ``vmap``."""
    if _peek_functorch() is None:
        return False
    levels = torch._C._functorch.get_interpreter_stack() or ()
    return any(level.key() == torch._C._functorch.TransformType.Vmap for level in levels)
