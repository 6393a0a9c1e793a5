"""Distributions of extremes and heavy tails: Gumbel, Weibull, Pareto and the generalized Pareto."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor
from torch import distributions as torch_distributions
from torch.distributions import constraints
from torch.distributions.transforms import AffineTransform, ExpTransform, PowerTransform, Transform
from torch.types import _size

from aleator import randomness
from aleator.distributions.arguments import SCALAR, Argument, Broadcast, as_kind, constant, log_of, reciprocal_of
from aleator.distributions.distribution import Distribution
from aleator.distributions.gamma import Exponential
from aleator.distributions.transformed import ClosedForm
from aleator.distributions.uniform import Uniform

__all__ = ["GeneralizedPareto", "Gumbel", "Pareto", "Weibull"]

# Torch has it only in newer versions.
_TorchGeneralizedPareto: Any = getattr(torch_distributions, "GeneralizedPareto", torch_distributions.Distribution)


@final
class Gumbel(ClosedForm, torch_distributions.Gumbel):
    """The Gumbel distribution (of the maximum) with mode ``loc`` and ``scale``."""

    argument_names = ("loc", "scale")
    loc = Broadcast()
    _loc: Argument
    scale = Broadcast()
    _scale: Argument

    def __init__(self, loc: Argument, scale: Argument, validate_args: bool | None = None) -> None:
        self._begin(validate_args, loc=loc, scale=scale)

    def _bounds(self) -> tuple[Tensor, float, float]:
        kind = as_kind(self._loc, self._like())
        limits = torch.finfo(kind.dtype)
        return kind, limits.tiny, 1.0 - limits.eps

    def _make_base(self) -> Uniform:
        kind, low, high = self._bounds()
        return Uniform(torch.full_like(kind, low), torch.full_like(kind, high), validate_args=False)

    def _make_transforms(self) -> list[Transform]:
        minus = constant(-1.0, self._like())
        log = ExpTransform().inv
        return [log, AffineTransform(loc=0, scale=minus), log, AffineTransform(loc=self.loc, scale=-self.scale)]

    def rsample(self, sample_shape: _size = SCALAR) -> Tensor:
        """Draw by the inverse of the distribution function."""
        kind, low, high = self._bounds()
        noise = low + randomness.uniform(self._draw_shape(sample_shape), like=kind) * (high - low)
        return self._loc - self._scale * (-noise.log()).log()

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density, over the joint shape of value and batch."""
        if value.__class__ is not Tensor or value.shape != self._batch_shape:
            value = self._aligned(value)
        standard = (self._loc - value) / self._scale
        return standard - standard.exp() - log_of(self._scale)


@final
class Weibull(ClosedForm, torch_distributions.Weibull):
    """The Weibull distribution with ``scale`` and shape ``concentration``."""

    argument_names = ("scale", "concentration")
    scale = Broadcast()
    _scale: Argument
    concentration = Broadcast()
    _concentration: Argument

    def __init__(self, scale: Argument, concentration: Argument, validate_args: bool | None = None) -> None:
        self._begin(validate_args, scale=scale, concentration=concentration)

    @property
    def concentration_reciprocal(self) -> Tensor:  # type: ignore[override]  # torch has an attribute here
        """One over the concentration."""
        return self.concentration.reciprocal()

    def _make_base(self) -> Exponential:
        return Exponential(constant(1.0, self._like()), validate_args=False)

    def _make_transforms(self) -> list[Transform]:
        return [PowerTransform(self.concentration_reciprocal), AffineTransform(loc=0, scale=self.scale)]

    def rsample(self, sample_shape: _size = SCALAR) -> Tensor:
        """Draw ``scale * noise ** (1 / concentration)``."""
        noise = randomness.exponential(self._draw_shape(sample_shape), like=self._like())
        return self._scale * noise.pow(as_kind(reciprocal_of(self._concentration), self._like()))

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density, over the joint shape of value and batch."""
        if value.__class__ is not Tensor or value.shape != self._batch_shape:
            value = self._aligned(value)
        concentration, scale = self._concentration, self._scale
        log_standard = (value / scale).log()
        power = concentration * log_standard
        return log_of(concentration) - log_of(scale) + (power - log_standard) - power.exp()


@final
class Pareto(ClosedForm, torch_distributions.Pareto):
    """The Pareto distribution from ``scale`` upward with tail exponent ``alpha``."""

    argument_names = ("scale", "alpha")
    scale = Broadcast()
    _scale: Argument
    alpha = Broadcast()
    _alpha: Argument

    def __init__(self, scale: Argument, alpha: Argument, validate_args: bool | None = None) -> None:
        self._begin(validate_args, scale=scale, alpha=alpha)

    def _make_base(self) -> Exponential:
        return Exponential(self.alpha, validate_args=False)

    def _make_transforms(self) -> list[Transform]:
        return [ExpTransform(), AffineTransform(loc=0, scale=self.scale)]

    def rsample(self, sample_shape: _size = SCALAR) -> Tensor:
        """Draw ``scale * exp(noise / alpha)``."""
        noise = randomness.exponential(self._draw_shape(sample_shape), like=self._like())
        return self._scale * (noise / self._alpha).exp()

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density, over the joint shape of value and batch."""
        if value.__class__ is not Tensor or value.shape != self._batch_shape:
            value = self._aligned(value)
        alpha = self._alpha
        return log_of(alpha) + alpha * log_of(self._scale) - (alpha + 1.0) * value.log()


@final
class GeneralizedPareto(Distribution, _TorchGeneralizedPareto):  # type: ignore[misc]  # Any where torch lacks it
    """The distribution of excesses over a threshold ``loc``, with ``scale`` and tail index ``concentration``."""

    argument_names = ("loc", "scale", "concentration")
    arg_constraints = {  # noqa: RUF012  # torch's protocol
        "loc": constraints.real,
        "scale": constraints.positive,
        "concentration": constraints.real,
    }
    has_rsample = True
    loc = Broadcast()
    _loc: Argument
    scale = Broadcast()
    _scale: Argument
    concentration = Broadcast()
    _concentration: Argument

    def __init__(
        self, loc: Argument, scale: Argument, concentration: Argument, validate_args: bool | None = None
    ) -> None:
        self._begin(validate_args, loc=loc, scale=scale, concentration=concentration)

    def _tail(self) -> tuple[Tensor, Tensor]:
        """Where the tail is exponential, and a concentration by which one may divide."""
        concentration = as_kind(self._concentration, self._like())
        exponential = torch.isclose(concentration, torch.zeros_like(concentration))
        return exponential, torch.where(exponential, 1.0, concentration)

    @property
    def support(self) -> constraints.Constraint:
        """From ``loc`` upward; to ``loc - scale / concentration`` where the concentration is negative."""
        upper = torch.where(self.concentration < 0, self.loc - self.scale / self.concentration, torch.inf)
        return constraints.interval(self.loc, upper)  # type: ignore[no-untyped-call]  # torch leaves it untyped

    def rsample(self, sample_shape: _size = SCALAR) -> Tensor:
        """Draw by the inverse of the distribution function."""
        return self.icdf(randomness.uniform(self._draw_shape(sample_shape), like=self._like()))

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density, over the joint shape of value and batch."""
        if value.__class__ is not Tensor or value.shape != self._batch_shape:
            value = self._aligned(value)
        exponential, concentration = self._tail()
        standard = (value - self._loc) / self._scale
        power = 1.0 / concentration + 1.0
        decay = torch.where(power == 0, power, power * (concentration * standard).log1p())
        return -log_of(self._scale) - torch.where(exponential, standard, decay)

    def log_survival_function(self, value: Tensor) -> Tensor:
        """Return the log-probability of more than a value."""
        exponential, concentration = self._tail()
        standard = (self._aligned(value) - self._loc) / self._scale
        return -torch.where(exponential, standard, (concentration * standard).log1p() / concentration)

    def cdf(self, value: Tensor) -> Tensor:
        """Return the probability of at most a value."""
        return -self.log_survival_function(value).expm1()

    def log_cdf(self, value: Tensor) -> Tensor:
        """Return the log-probability of at most a value."""
        return (-self.log_survival_function(value).exp()).log1p()

    def icdf(self, value: Tensor) -> Tensor:
        """Return quantiles."""
        exponential, concentration = self._tail()
        log_rest = (-value).log1p()
        curved = self._loc + self._scale / concentration * (-concentration * log_rest).expm1()
        return torch.where(exponential, self._loc - self._scale * log_rest, curved)

    @property
    def mean(self) -> Tensor:
        """The mean; NaN where the tail is too heavy for one."""
        finite = self.concentration < 1
        mean = self.loc + self.scale / (1 - torch.where(finite, self.concentration, 0.5))
        return torch.where(finite, mean, torch.nan)

    @property
    def variance(self) -> Tensor:
        """The variance; NaN where the tail is too heavy for one."""
        finite = self.concentration < 0.5
        concentration = torch.where(finite, self.concentration, 0.25)
        variance = self.scale**2 / ((1 - concentration) ** 2 * (1 - 2 * concentration))
        return torch.where(finite, variance, torch.nan)

    @property
    def mode(self) -> Tensor:
        """The mode."""
        mode: Tensor = self.loc
        return mode

    def entropy(self) -> Tensor:
        """Return the differential entropy."""
        return (self.scale.log() + self.concentration + 1).expand(self._batch_shape)
