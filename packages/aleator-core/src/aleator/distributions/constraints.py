"""Torch's constraints under their own names, and the few that Aleator's checks need beside them."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor
from torch.distributions import constraints as _torch_constraints
from torch.distributions.constraints import *  # noqa: F403  # one vocabulary: torch's names are ours
from torch.distributions.constraints import Constraint
from torch.distributions.constraints import __all__ as _torch_names

__all__ = [*_torch_names, "finite_logits", "factorable", "weights"]


@final
class _Weights(Constraint):
    """Nonnegative weights along the last dim, with a positive and finite sum."""

    event_dim = 1
    looks_at_last_dims = True
    """Values of one shape may be stacked, and checked at once."""

    def check(self, value: Tensor) -> Tensor:
        total = value.sum(-1)
        return (value >= 0).all(-1) & (total > 0) & (total < torch.inf)


@final
class _FiniteLogits(Constraint):
    """Logits along the last dim that can be normalized: no NaN, none plus infinity, not all minus infinity."""

    event_dim = 1
    looks_at_last_dims = True

    def check(self, value: Tensor) -> Tensor:
        largest = value.amax(-1)
        return (largest < torch.inf) & (largest > -torch.inf)


@final
class _Factorable(type(_torch_constraints.positive_definite)):  # type: ignore[misc]  # torch names only the instance
    """Torch's positive definite matrices, checked without reading a number on the host on the way."""

    def check(self, value: Tensor) -> Tensor:
        symmetric = torch.isclose(value, value.mT, atol=1e-6).all(-2).all(-1)
        factored: Tensor = symmetric & torch.linalg.cholesky_ex(value).info.eq(0)
        return factored

    def __repr__(self) -> str:
        return "PositiveDefinite()"


weights = _Weights()
finite_logits = _FiniteLogits()
factorable = _Factorable()
