"""The Dirichlet distribution, and the beta distribution, its case of two."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor
from torch import distributions as torch_distributions
from torch.types import _size

from aleator import randomness
from aleator.distributions.arguments import (
    SCALAR,
    Argument,
    Broadcast,
    as_kind,
    as_tensor_argument,
    check_arguments,
    less,
    lgamma_of,
    operand,
)
from aleator.distributions.distribution import ExponentialFamily

__all__ = ["Beta", "Dirichlet"]


@final
class Dirichlet(ExponentialFamily, torch_distributions.Dirichlet):
    """The Dirichlet distribution over the simplex, with a ``concentration`` for each of its corners (the last dim)."""

    argument_names = ("concentration",)
    concentration = Broadcast(event_dim=1)
    _concentration: Tensor

    def __init__(self, concentration: Tensor, validate_args: bool | None = None) -> None:
        self._concentration = concentration = as_tensor_argument(self, "concentration", concentration, min_dim=1)
        shape = concentration.shape
        self._batch_shape = shape[:-1]
        self._event_shape = shape[-1:]
        check_arguments(self, validate_args, (("concentration", self.arg_constraints["concentration"], concentration),))

    def rsample(self, sample_shape: _size = SCALAR) -> Tensor:
        """Draw with the implicit gradient in the concentration."""
        shape = self._draw_shape(sample_shape)
        concentration = self._concentration
        return randomness.dirichlet(concentration if concentration.shape == shape else concentration.expand(shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density with respect to the first ``K - 1`` coordinates."""
        if value.__class__ is not Tensor or value.shape != self._batch_shape + self._event_shape:
            value = self._aligned(value)
        concentration = self._concentration
        normalizer = concentration.sum(-1).lgamma() - concentration.lgamma().sum(-1)
        return torch.xlogy(less(concentration, 1.0, value), value).sum(-1) + normalizer


@final
class Beta(ExponentialFamily, torch_distributions.Beta):
    """The beta distribution on the unit interval; its mean is ``concentration1`` over the sum of both."""

    argument_names = ("concentration1", "concentration0")
    concentration1 = Broadcast()
    _concentration1: Argument
    concentration0 = Broadcast()
    _concentration0: Argument

    def __init__(self, concentration1: Argument, concentration0: Argument, validate_args: bool | None = None) -> None:
        self._begin(validate_args, concentration1=concentration1, concentration0=concentration0)

    @property
    def _dirichlet(self) -> Dirichlet:  # type: ignore[override]  # torch has an attribute here
        """The distribution of the pair ``(x, 1 - x)``."""
        return Dirichlet(torch.stack([self.concentration1, self.concentration0], -1), validate_args=False)

    def rsample(self, sample_shape: _size = SCALAR) -> Tensor:
        """Draw with the implicit gradient in both concentrations."""
        like = self._like()
        shape = self._draw_shape(sample_shape)
        pair = [as_kind(value, like).expand(shape) for value in (self._concentration1, self._concentration0)]
        return randomness.dirichlet(torch.stack(pair, -1)).select(-1, 0)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density, over the joint shape of value and batch."""
        if value.__class__ is not Tensor or value.shape != self._batch_shape:
            value = self._aligned(value)
        ones, zeros = self._concentration1, self._concentration0
        normalizer = as_kind(lgamma_of(ones + zeros) - lgamma_of(ones) - lgamma_of(zeros), value)
        power = torch.xlogy(less(ones, 1.0, value), value)
        return power + torch.xlogy(less(zeros, 1.0, value), operand(1.0, value) - value) + normalizer
