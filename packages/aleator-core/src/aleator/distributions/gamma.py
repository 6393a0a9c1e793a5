"""The gamma distribution and its relatives: chi-squared, inverse gamma, Fisher-Snedecor, exponential."""

from __future__ import annotations

from typing import ClassVar, final

import torch
from torch import Tensor
from torch import distributions as torch_distributions
from torch.distributions import constraints
from torch.distributions.transforms import PowerTransform, Transform
from torch.types import _size

from aleator import randomness
from aleator.distributions.arguments import (
    SCALAR,
    Argument,
    Broadcast,
    as_kind,
    check_arguments,
    constant,
    less,
    lgamma_of,
    log_of,
)
from aleator.distributions.distribution import Distribution, ExponentialFamily
from aleator.distributions.transformed import ClosedForm

__all__ = ["Chi2", "Exponential", "FisherSnedecor", "Gamma", "InverseGamma"]


def positive_gamma(concentration: Tensor, rate: Argument) -> Tensor:
    """Draw gammas, kept above zero, where a small concentration would underflow to it."""
    draws = randomness.gamma(concentration) / rate
    # On the detached tensor: the gradient of a draw at the bound is that of the draw.
    draws.detach().clamp_(min=torch.finfo(draws.dtype).tiny)
    return draws


def gamma_log_prob(value: Tensor, concentration: Argument, rate: Argument) -> Tensor:
    """Return the log-density of a gamma distribution; zero to the power of zero is one."""
    normalizer = as_kind(concentration * log_of(rate) - lgamma_of(concentration), value)
    power = torch.xlogy(less(concentration, 1.0, value), value)
    if isinstance(rate, Tensor):
        return torch.addcmul(power, rate, value, value=-1) + normalizer
    return torch.sub(power, value, alpha=rate) + normalizer


class Gamma(ExponentialFamily, torch_distributions.Gamma):
    """The gamma distribution with shape ``concentration`` and ``rate`` (the inverse of the scale)."""

    argument_names: ClassVar[tuple[str, ...]] = ("concentration", "rate")
    concentration = Broadcast()
    _concentration: Argument
    rate = Broadcast()
    _rate: Argument

    def __init__(self, concentration: Argument, rate: Argument, validate_args: bool | None = None) -> None:
        self._begin(validate_args, concentration=concentration, rate=rate)

    def rsample(self, sample_shape: _size = SCALAR) -> Tensor:
        """Draw with the implicit gradient in the concentration."""
        concentration = as_kind(self._concentration, self._like())
        shape = self._draw_shape(sample_shape)
        if concentration.shape != shape:
            concentration = concentration.expand(shape)
        return positive_gamma(concentration, self._rate)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density, over the joint shape of value and batch."""
        if value.__class__ is not Tensor or value.shape != self._batch_shape:
            value = self._aligned(value)
        return gamma_log_prob(value, self._concentration, self._rate)


@final
class Chi2(Gamma, torch_distributions.Chi2):
    """The chi-squared distribution with ``df`` degrees of freedom."""

    argument_names = ("df",)
    df = Broadcast()
    _df: Argument

    def __init__(self, df: Argument, validate_args: bool | None = None) -> None:
        self._begin(validate_args, df=df)
        self._concentration = 0.5 * self._df
        self._rate = 0.5


@final
class InverseGamma(ClosedForm, torch_distributions.InverseGamma):
    """The distribution of ``1 / x`` where ``x`` is gamma with shape ``concentration`` and ``rate``."""

    argument_names = ("concentration", "rate")
    concentration = Broadcast()
    _concentration: Argument
    rate = Broadcast()
    _rate: Argument

    def __init__(self, concentration: Argument, rate: Argument, validate_args: bool | None = None) -> None:
        self._begin(validate_args, concentration=concentration, rate=rate)

    def _make_base(self) -> Gamma:
        return Gamma(self._concentration, self._rate, validate_args=False)

    def _make_transforms(self) -> list[Transform]:
        return [PowerTransform(constant(-1.0, self._like()))]

    def rsample(self, sample_shape: _size = SCALAR) -> Tensor:
        """Draw one over a gamma draw."""
        concentration = as_kind(self._concentration, self._like())
        draws = positive_gamma(concentration.expand(self._draw_shape(sample_shape)), self._rate)
        # A tensor exponent, as torch has it: `reciprocal` rounds differently in the last bit.
        return draws.pow(as_kind(-1.0, draws))

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density, over the joint shape of value and batch."""
        if value.__class__ is not Tensor or value.shape != self._batch_shape:
            value = self._aligned(value)
        concentration, rate = self._concentration, self._rate
        normalizer = concentration * log_of(rate) - lgamma_of(concentration)
        return normalizer - torch.xlogy(concentration + 1.0, value) - rate / value


@final
class FisherSnedecor(Distribution, torch_distributions.FisherSnedecor):
    """Fisher's F distribution with ``df1`` and ``df2`` degrees of freedom."""

    argument_names = ("df1", "df2")
    df1 = Broadcast()
    _df1: Argument
    df2 = Broadcast()
    _df2: Argument

    def __init__(self, df1: Argument, df2: Argument, validate_args: bool | None = None) -> None:
        self._begin(validate_args, df1=df1, df2=df2)

    def rsample(self, sample_shape: _size = SCALAR) -> Tensor:
        """Draw the ratio of two gamma draws of mean one half."""
        like = self._like()
        shape = self._draw_shape(sample_shape)
        df1, df2 = as_kind(self._df1, like).expand(shape), as_kind(self._df2, like).expand(shape)
        ratio = positive_gamma(df1 * 0.5, df1) / positive_gamma(df2 * 0.5, df2)
        ratio.detach().clamp_(min=torch.finfo(ratio.dtype).tiny)
        return ratio


@final
class Exponential(ExponentialFamily, torch_distributions.Exponential):
    """The exponential distribution with a ``rate`` (the inverse of the mean)."""

    argument_names = ("rate",)
    rate = Broadcast()
    _rate: Argument

    def __init__(self, rate: Argument, validate_args: bool | None = None) -> None:
        if isinstance(rate, Tensor):
            self._rate: Argument = rate
            self._batch_shape = rate.shape
            self._event_shape = SCALAR
            check_arguments(self, validate_args, (("rate", constraints.positive, rate),))
        else:
            self._begin(validate_args, rate=rate)

    def rsample(self, sample_shape: _size = SCALAR) -> Tensor:
        """Draw ``noise / rate``."""
        return randomness.exponential(self._draw_shape(sample_shape), like=self._like()) / self._rate

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density, over the joint shape of value and batch."""
        if value.__class__ is not Tensor or value.shape != self._batch_shape:
            value = self._aligned(value)
        rate = self._rate
        if isinstance(rate, Tensor):
            return torch.addcmul(rate.log(), rate, value, value=-1)
        return log_of(rate) - rate * value
