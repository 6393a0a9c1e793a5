"""The Cauchy distribution, and its absolute value's."""

from __future__ import annotations

import math
from typing import final

from torch import Tensor
from torch import distributions as torch_distributions
from torch.distributions.transforms import AbsTransform, Transform
from torch.types import _size

from aleator import randomness
from aleator.distributions.arguments import SCALAR, Argument, Broadcast, as_kind, log_of, operand, residual, shifted
from aleator.distributions.distribution import Distribution
from aleator.distributions.normal import zero_below
from aleator.distributions.transformed import ClosedForm

__all__ = ["Cauchy", "HalfCauchy"]


def cauchy_log_prob(value: Tensor, loc: Argument, scale: Argument, shift: float = 0.0) -> Tensor:
    """Return the log-density of a Cauchy distribution, plus a constant."""
    difference = residual(value, loc)
    standard = difference / as_kind(scale, difference)
    normalizer = operand(shift - math.log(math.pi), standard) - as_kind(log_of(scale), standard)
    return normalizer - (standard * standard).log1p()


@final
class Cauchy(Distribution, torch_distributions.Cauchy):
    """The Cauchy distribution around the median ``loc`` with half width ``scale`` at half maximum."""

    argument_names = ("loc", "scale")
    loc = Broadcast()
    _loc: Argument
    scale = Broadcast()
    _scale: Argument

    def __init__(self, loc: Argument, scale: Argument, validate_args: bool | None = None) -> None:
        self._begin(validate_args, loc=loc, scale=scale)

    def rsample(self, sample_shape: _size = SCALAR) -> Tensor:
        """Draw ``loc + scale * noise``."""
        noise = randomness.cauchy(self._draw_shape(sample_shape), like=self._like())
        return shifted(noise, self._loc, self._scale)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density, over the joint shape of value and batch."""
        if value.__class__ is not Tensor or value.shape != self._batch_shape:
            value = self._aligned(value)
        return cauchy_log_prob(value, self._loc, self._scale)


@final
class HalfCauchy(ClosedForm, torch_distributions.HalfCauchy):
    """The distribution of ``abs(x)`` where ``x`` is Cauchy around 0 with half width ``scale``."""

    argument_names = ("scale",)
    scale = Broadcast()
    _scale: Argument

    def __init__(self, scale: Argument, validate_args: bool | None = None) -> None:
        self._begin(validate_args, scale=scale)

    def _make_base(self) -> Cauchy:
        return Cauchy(0.0, self._scale, validate_args=False)

    def _make_transforms(self) -> list[Transform]:
        return [AbsTransform()]

    def rsample(self, sample_shape: _size = SCALAR) -> Tensor:
        """Draw ``abs(scale * noise)``."""
        return shifted(randomness.cauchy(self._draw_shape(sample_shape), like=self._like()), 0.0, self._scale).abs()

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density, minus infinity below zero."""
        if value.__class__ is not Tensor or value.shape != self._batch_shape:
            value = self._aligned(value)
        log_prob = cauchy_log_prob(value, 0.0, self._scale, shift=math.log(2.0))
        return zero_below(value, log_prob)
