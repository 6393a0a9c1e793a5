"""The Kumaraswamy distribution."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor
from torch import distributions as torch_distributions
from torch.distributions.transforms import AffineTransform, PowerTransform, Transform
from torch.types import _size

from aleator import randomness
from aleator.distributions.arguments import SCALAR, Argument, Broadcast, as_kind, log_of, reciprocal_of
from aleator.distributions.transformed import ClosedForm
from aleator.distributions.uniform import Uniform

__all__ = ["Kumaraswamy"]


@final
class Kumaraswamy(ClosedForm, torch_distributions.Kumaraswamy):
    """The Kumaraswamy distribution on the unit interval: like a beta, with a closed distribution function."""

    argument_names = ("concentration1", "concentration0")
    concentration1 = Broadcast()
    _concentration1: Argument
    concentration0 = Broadcast()
    _concentration0: Argument

    def __init__(self, concentration1: Argument, concentration0: Argument, validate_args: bool | None = None) -> None:
        self._begin(validate_args, concentration1=concentration1, concentration0=concentration0)

    def _make_base(self) -> Uniform:
        kind = as_kind(self._concentration1, self._like())
        return Uniform(torch.zeros_like(kind), torch.ones_like(kind), validate_args=False)

    def _make_transforms(self) -> list[Transform]:
        return [
            PowerTransform(self.concentration0.reciprocal()),
            AffineTransform(loc=1.0, scale=-1.0),
            PowerTransform(self.concentration1.reciprocal()),
        ]

    def rsample(self, sample_shape: _size = SCALAR) -> Tensor:
        """Draw by the inverse of the distribution function."""
        like = self._like()
        inner = as_kind(reciprocal_of(self._concentration0), like)
        outer = as_kind(reciprocal_of(self._concentration1), like)
        noise = randomness.uniform(self._draw_shape(sample_shape), like=like)
        return (1.0 - noise.pow(inner)).pow(outer)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density, over the joint shape of value and batch."""
        if value.__class__ is not Tensor or value.shape != self._batch_shape:
            value = self._aligned(value)
        ones, zeros = self._concentration1, self._concentration0
        rest = (-value.pow(ones)).log1p()
        return log_of(ones) + log_of(zeros) + torch.xlogy(ones - 1.0, value) + (zeros - 1.0) * rest
