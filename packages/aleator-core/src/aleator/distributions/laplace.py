"""The Laplace distribution."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor
from torch import distributions as torch_distributions
from torch.types import _size

from aleator import randomness
from aleator.distributions.arguments import SCALAR, Argument, Broadcast, as_kind, log_of, operand, residual
from aleator.distributions.distribution import Distribution

__all__ = ["Laplace"]


@final
class Laplace(Distribution, torch_distributions.Laplace):
    """The Laplace distribution with mean ``loc`` and mean absolute deviation ``scale``."""

    argument_names = ("loc", "scale")
    loc = Broadcast()
    _loc: Argument
    scale = Broadcast()
    _scale: Argument

    def __init__(self, loc: Argument, scale: Argument, validate_args: bool | None = None) -> None:
        self._begin(validate_args, loc=loc, scale=scale)

    def rsample(self, sample_shape: _size = SCALAR) -> Tensor:
        """Draw by the inverse of the distribution function."""
        like = self._like()
        loc = as_kind(self._loc, like)
        low = torch.finfo(loc.dtype).eps - 1.0
        noise = randomness.uniform(self._draw_shape(sample_shape), low, 1.0, like=loc)
        return loc - self._scale * noise.sign() * (-noise.abs()).log1p()

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density, over the joint shape of value and batch."""
        if value.__class__ is not Tensor or value.shape != self._batch_shape:
            value = self._aligned(value)
        difference = residual(value, self._loc).abs() / as_kind(self._scale, value)
        return operand(-math.log(2.0), difference) - as_kind(log_of(self._scale), difference) - difference
