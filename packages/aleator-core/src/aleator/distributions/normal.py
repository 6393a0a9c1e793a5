"""The normal distribution, and its images under ``exp`` and ``abs``."""

from __future__ import annotations

import math
from typing import final

import torch
from torch import Tensor
from torch import distributions as torch_distributions
from torch.distributions import constraints
from torch.distributions.transforms import AbsTransform, ExpTransform, Transform
from torch.types import _size

from aleator import randomness
from aleator.distributions import event_densities, own_derivatives
from aleator.distributions.arguments import (
    SCALAR,
    Argument,
    Broadcast,
    as_argument,
    check_arguments,
    log_of_number,
    operand,
    pair_shape,
    residual,
    shifted,
)
from aleator.distributions.distribution import ExponentialFamily
from aleator.distributions.event_densities import sum_of_event, sum_rightmost
from aleator.distributions.own_derivatives import own_derivative_pays
from aleator.distributions.own_draws import is_shifted_noise
from aleator.distributions.transformed import ClosedForm

__all__ = ["HalfNormal", "LogNormal", "Normal"]

_HALF_LOG_TWO_PI = 0.5 * math.log(2.0 * math.pi)
_REAL = constraints.real
_USUAL = (Tensor, float)
_POSITIVE = constraints.positive


def normal_log_prob(value: Tensor, loc: Argument, scale: Argument, shift: float = 0.0) -> Tensor:
    """Return the log-density of a normal, plus a constant.

    With tensors this takes five kernels, two of them at the size of the scale; with a number as scale two, and with
    the standard normal one.
    """
    constant = shift - _HALF_LOG_TWO_PI
    if isinstance(scale, Tensor) and isinstance(loc, Tensor) and own_derivative_pays(value, loc, scale):
        return own_derivatives.normal_log_prob(value, loc, scale, operand(constant, scale))
    difference = residual(value, loc)
    if isinstance(scale, Tensor):
        standard = difference / scale
        return torch.addcmul(operand(constant, scale) - scale.log(), standard, standard, value=-0.5)
    if not difference.is_floating_point():
        difference = difference.to(torch.get_default_dtype())
    half_precision = -0.5 / (scale * scale) if scale else math.nan
    log_factor = operand(constant - log_of_number(scale), difference)
    if own_derivative_pays(difference):
        return own_derivatives.normal_log_prob_at_precision(difference, log_factor, half_precision)
    return torch.addcmul(log_factor, difference, difference, value=half_precision)


def normal_event_log_prob(value: Tensor, loc: Argument, scale: Argument, ndims: int) -> Tensor:
    """Return the same summed over so many rightmost dims; the value has the shape of what is summed."""
    if ndims and own_derivative_pays(value, loc, scale):
        constant = -_HALF_LOG_TWO_PI
        if isinstance(scale, Tensor):
            if isinstance(loc, Tensor):
                return event_densities.normal_event_log_prob(value, loc, scale, constant, ndims)
        elif scale:
            return event_densities.normal_event_log_prob_at_precision(
                residual(value, loc), constant - log_of_number(scale), -0.5 / (scale * scale), ndims
            )
    return sum_rightmost(normal_log_prob(value, loc, scale), ndims)


def log_prob_of_shifted_noise(value: Tensor, loc: Argument, scale: Argument, ndims: int) -> Tensor:
    """Return the same for a value that is ``loc + noise * scale``, as a function of the scale alone."""
    with torch.no_grad():
        noise = value - loc
        squares = sum_rightmost((noise.div_(scale) if isinstance(scale, Tensor) else noise / scale).square_(), ndims)
    event_shape = value.shape[value.dim() - ndims :]
    if isinstance(scale, Tensor):
        log_factor = sum_of_event(operand(-_HALF_LOG_TWO_PI, scale) - scale.log(), event_shape)
        return torch.sub(log_factor, squares, alpha=0.5)
    return (-_HALF_LOG_TWO_PI - log_of_number(scale)) * event_shape.numel() - 0.5 * squares


def zero_below(value: Tensor, log_prob: Tensor) -> Tensor:
    """Return minus infinity where a value is negative, and the log-probability elsewhere."""
    return torch.where(value >= operand(0.0, value), log_prob, operand(-math.inf, log_prob))


@final
class Normal(ExponentialFamily, torch_distributions.Normal):
    """The normal distribution with mean ``loc`` and standard deviation ``scale``.

    Args:
        loc, scale: tensors or numbers that broadcast to the batch shape.
        validate_args: whether to check arguments and shapes; by default as the context says.

    Raises:
        ParameterError: where the shapes do not broadcast, or a scale is not positive.

    Example:
        >>> import aleator.distributions as dist
        >>> dist.Normal(0.0, 2.0).mean
        tensor(0.)
    """

    argument_names = ("loc", "scale")
    loc = Broadcast()
    _loc: Argument
    scale = Broadcast()
    _scale: Argument

    def __init__(self, loc: Argument, scale: Argument, validate_args: bool | None = None) -> None:
        loc = loc if isinstance(loc, _USUAL) else as_argument(self, "loc", loc)
        scale = scale if isinstance(scale, _USUAL) else as_argument(self, "scale", scale)
        self._loc = loc
        self._scale = scale
        self._batch_shape = pair_shape(self, "loc", loc, "scale", scale)
        self._event_shape = SCALAR
        check_arguments(self, validate_args, (("loc", _REAL, loc), ("scale", _POSITIVE, scale)))

    def rsample(self, sample_shape: _size = SCALAR) -> Tensor:
        """Draw ``loc + scale * noise``."""
        loc, scale = self._loc, self._scale
        like = loc if isinstance(loc, Tensor) else scale if isinstance(scale, Tensor) else None
        shape = self._draw_shape(sample_shape) if sample_shape else self._batch_shape
        return shifted(randomness.normal(shape, like=like), loc, scale)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density, over the joint shape of value and batch."""
        if value.__class__ is not Tensor or value.shape != self._batch_shape:
            value = self._aligned(value)
        return normal_log_prob(value, self._loc, self._scale)

    def _event_log_prob(self, value: Tensor, ndims: int) -> Tensor:
        """Return the log-density summed over so many rightmost dims."""
        if value.__class__ is not Tensor or value.shape != self._batch_shape:
            value = self._aligned(value)
        return normal_event_log_prob(value, self._loc, self._scale, ndims)

    def _draw_log_prob(self, value: Tensor, ndims: int) -> Tensor:
        """Leave the noise out of the graph where the value is noise, shifted and scaled by these arguments."""
        loc, scale = self._loc, self._scale
        if value.shape != self._batch_shape or not is_shifted_noise(value, loc, scale):
            return self._event_log_prob(value, ndims)
        return log_prob_of_shifted_noise(value, loc, scale, ndims)


@final
class LogNormal(ClosedForm, torch_distributions.LogNormal):
    """The distribution of ``exp(x)`` where ``x`` is normal with mean ``loc`` and standard deviation ``scale``."""

    argument_names = ("loc", "scale")
    loc = Broadcast()
    _loc: Argument
    scale = Broadcast()
    _scale: Argument

    def __init__(self, loc: Argument, scale: Argument, validate_args: bool | None = None) -> None:
        self._begin(validate_args, loc=loc, scale=scale)

    def _make_base(self) -> Normal:
        return Normal(self._loc, self._scale, validate_args=False)

    def _make_transforms(self) -> list[Transform]:
        return [ExpTransform()]

    def rsample(self, sample_shape: _size = SCALAR) -> Tensor:
        """Draw ``exp(loc + scale * noise)``."""
        noise = randomness.normal(self._draw_shape(sample_shape), like=self._like())
        return shifted(noise, self._loc, self._scale).exp()

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density, over the joint shape of value and batch."""
        if value.__class__ is not Tensor or value.shape != self._batch_shape:
            value = self._aligned(value)
        log_value = value.log()
        return normal_log_prob(log_value, self._loc, self._scale) - log_value


@final
class HalfNormal(ClosedForm, torch_distributions.HalfNormal):
    """The distribution of ``abs(x)`` where ``x`` is normal with mean 0 and standard deviation ``scale``."""

    argument_names = ("scale",)
    scale = Broadcast()
    _scale: Argument

    def __init__(self, scale: Argument, validate_args: bool | None = None) -> None:
        self._begin(validate_args, scale=scale)

    def _make_base(self) -> Normal:
        return Normal(0.0, self._scale, validate_args=False)

    def _make_transforms(self) -> list[Transform]:
        return [AbsTransform()]

    def rsample(self, sample_shape: _size = SCALAR) -> Tensor:
        """Draw ``abs(scale * noise)``."""
        return shifted(randomness.normal(self._draw_shape(sample_shape), like=self._like()), 0.0, self._scale).abs()

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density, minus infinity below zero."""
        if value.__class__ is not Tensor or value.shape != self._batch_shape:
            value = self._aligned(value)
        log_prob = normal_log_prob(value, 0.0, self._scale, shift=math.log(2.0))
        return zero_below(value, log_prob)
