"""Student's t distribution."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor
from torch import distributions as torch_distributions
from torch.types import _size

from aleator import randomness
from aleator.distributions.arguments import SCALAR, Argument, Broadcast, as_kind, lgamma_of, log_of
from aleator.distributions.distribution import Distribution
from aleator.distributions.gamma import positive_gamma

__all__ = ["StudentT"]


@final
class StudentT(Distribution, torch_distributions.StudentT):
    """Student's t distribution with ``df`` degrees of freedom, shifted by ``loc`` and stretched by ``scale``."""

    argument_names = ("df", "loc", "scale")
    df = Broadcast()
    _df: Argument
    loc = Broadcast()
    _loc: Argument
    scale = Broadcast()
    _scale: Argument

    def __init__(
        self, df: Argument, loc: Argument = 0.0, scale: Argument = 1.0, validate_args: bool | None = None
    ) -> None:
        self._begin(validate_args, df=df, loc=loc, scale=scale)

    def rsample(self, sample_shape: _size = SCALAR) -> Tensor:
        """Draw a normal over the root of a scaled chi-squared draw."""
        df = as_kind(self._df, self._like())
        shape = self._draw_shape(sample_shape)
        noise = randomness.normal(shape, like=df)
        chi_squared = positive_gamma((0.5 * df).expand(shape), 0.5)
        return self._loc + self._scale * (noise * torch.rsqrt(chi_squared / df))

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density, over the joint shape of value and batch."""
        if value.__class__ is not Tensor or value.shape != self._batch_shape:
            value = self._aligned(value)
        df, scale = self._df, self._scale
        half = 0.5 * (df + 1.0)
        normalizer = lgamma_of(half) - lgamma_of(0.5 * df) - 0.5 * (log_of(df) + math.log(math.pi)) - log_of(scale)
        standard = (value - self._loc) / scale
        return normalizer - half * (standard * standard / df).log1p()
