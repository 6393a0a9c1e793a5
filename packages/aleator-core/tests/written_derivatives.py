"""What tests of written-out derivatives share: inputs, and a comparison of values, first and second derivatives."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
import torch
from torch import Tensor

from aleator.distributions import own_derivatives

__all__ = ["Density", "assert_equal", "derivatives", "taken_at_every_size", "tensors"]

Density = Callable[..., Tensor]


def taken_at_every_size(monkeypatch: pytest.MonkeyPatch, module: ModuleType, *names: str) -> list[str]:
    """Take the written-out derivatives at every size, and list which of a module's functions were taken."""
    monkeypatch.setattr(own_derivatives, "LEAST_ELEMENTS", 0)
    taken: list[str] = []
    for name in names:
        function = getattr(module, name)

        def apply(*inputs: Any, name: str = name, original: Any = function.apply) -> Any:
            taken.append(name)
            return original(*inputs)

        monkeypatch.setattr(function, "apply", staticmethod(apply))
    return taken


def tensors(*shapes: tuple[int, ...], dtype: torch.dtype = torch.float64, asked: int = -1) -> list[Tensor]:
    """Positive numbers, which suit every argument; ``asked`` is a mask of those that require a gradient."""
    source = torch.Generator().manual_seed(5)
    made = [torch.rand(shape, generator=source, dtype=dtype) + 0.4 for shape in shapes]
    return [each.requires_grad_(bool(asked >> index & 1)) for index, each in enumerate(made)]


def derivatives(density: Density, inputs: list[Tensor]) -> tuple[Tensor, list[Tensor], list[Tensor]]:
    """The density, its gradient under uneven weights, and the gradient of that gradient's own weighted sum."""
    log_prob = density(*inputs)
    weights = torch.linspace(-1.0, 2.0, log_prob.numel(), dtype=log_prob.dtype).reshape(log_prob.shape)
    asked = [each for each in inputs if each.requires_grad]
    first = torch.autograd.grad((log_prob * weights).sum(), asked, create_graph=True)
    total = sum((each.sin().sum() for each in first), torch.zeros((), dtype=log_prob.dtype))
    second = torch.autograd.grad(total, asked, allow_unused=True) if total.requires_grad else ()
    numbers = torch.autograd.grad((density(*inputs) * weights).sum(), asked)
    for graph, number in zip(first, numbers, strict=True):
        torch.testing.assert_close(graph, number)
    return log_prob, list(numbers), [torch.zeros(()) if each is None else each for each in second]


def assert_equal(own: Density, plain: Density, inputs: list[Tensor], tolerance: float = 1e-12) -> None:
    for ours, theirs in zip(derivatives(own, inputs), derivatives(plain, inputs), strict=True):
        torch.testing.assert_close(ours, theirs, rtol=tolerance, atol=tolerance)
