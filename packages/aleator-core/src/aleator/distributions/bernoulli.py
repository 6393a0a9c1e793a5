"""One trial with two outcomes, and its continuous and relaxed relatives."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor
from torch import distributions as torch_distributions
from torch.distributions import constraints, relaxed_bernoulli
from torch.distributions.transforms import SigmoidTransform, Transform
from torch.nn import functional
from torch.types import _size

from aleator import randomness
from aleator.distributions import own_derivatives
from aleator.distributions.arguments import SCALAR, Argument, as_argument, check_arguments, constant
from aleator.distributions.distribution import ExponentialFamily
from aleator.distributions.event_densities import bernoulli_event_log_prob
from aleator.distributions.own_derivatives import bernoulli_log_prob, own_derivative_pays
from aleator.distributions.probabilities import BinaryProbabilities, clamp_probs
from aleator.distributions.transformed import ClosedForm

__all__ = ["Bernoulli", "ContinuousBernoulli", "LogitRelaxedBernoulli", "RelaxedBernoulli"]


@final
class Bernoulli(BinaryProbabilities, ExponentialFamily, torch_distributions.Bernoulli):
    """A trial that gives 1 with probability ``probs`` and 0 otherwise.

    Example:
        >>> import aleator.distributions as dist
        >>> dist.Bernoulli(0.25).enumerate_support()
        tensor([0., 1.])
    """

    def __init__(
        self, probs: Argument | None = None, logits: Argument | None = None, validate_args: bool | None = None
    ) -> None:
        self._begin_binary(validate_args, probs, logits)

    def sample(self, sample_shape: _size = SCALAR) -> Tensor:
        """Draw zeros and ones."""
        probs = self._raw_probs()
        shape = self._draw_shape(sample_shape)
        return randomness.bernoulli(probs if probs.shape == shape else probs.expand(shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-probability, over the joint shape of value and batch."""
        if self._given == "logits" and isinstance(value, Tensor):
            # log sigma(l) - (1 - x) l: the value, mostly data and small, is shifted, not the logits turned.
            logits, shift = self._raw_logits(), value + -1.0
            if shift.shape != self._batch_shape:
                shift = self._aligned(shift)
            if own_derivative_pays(shift, logits):
                return bernoulli_log_prob(logits, shift)
            return torch.addcmul(functional.logsigmoid(logits), logits, shift)
        if value.__class__ is not Tensor or value.shape != self._batch_shape:
            value = self._aligned(value)
        if self._given == "logits":
            return self.log_prob(value)
        probs = clamp_probs(self._stated())
        if value.dtype != probs.dtype:
            value = value.to(probs.dtype)
        return torch.lerp((-probs).log1p(), probs.log(), value)

    def _event_log_prob(self, value: Tensor, ndims: int) -> Tensor:
        """Sum the log-probability over so many rightmost dims, in one go where it is large."""
        if self._given == "logits" and isinstance(value, Tensor):
            logits = self._raw_logits()
            if logits.shape == self._batch_shape and logits.numel() >= own_derivatives.LEAST_ELEMENTS:
                shift = self._aligned(value + -1.0)
                if shift.shape == logits.shape and own_derivative_pays(shift, logits):
                    return bernoulli_event_log_prob(logits, shift, ndims)
        return super()._event_log_prob(value, ndims)


@final
class ContinuousBernoulli(BinaryProbabilities, ExponentialFamily, torch_distributions.ContinuousBernoulli):
    """The continuous Bernoulli distribution on the unit interval (Loaiza-Ganem and Cunningham 2019).

    Args:
        probs, logits: the parameter, given in one of two ways.
        lims: between these values of ``probs`` a Taylor expansion replaces the unstable normalizer.
        validate_args: whether to check arguments and shapes; by default as the context says.
    """

    def __init__(
        self,
        probs: Argument | None = None,
        logits: Argument | None = None,
        lims: tuple[float, float] = (0.499, 0.501),
        validate_args: bool | None = None,
    ) -> None:
        self._begin_binary(validate_args, probs, logits)
        if self._probs is not None:
            self._probs = clamp_probs(self._probs)
        self._lims = lims

    def _probs_of(self, logits: Tensor) -> Tensor:
        return clamp_probs(logits.sigmoid())

    def rsample(self, sample_shape: _size = SCALAR) -> Tensor:
        """Draw by the inverse of the distribution function."""
        return self.icdf(randomness.uniform(self._draw_shape(sample_shape), like=self._raw_probs()))  # type: ignore[no-any-return, no-untyped-call]  # untyped in torch


class _Temperature:
    """Read access to a temperature, as a tensor."""

    def __get__(self, instance: Any, owner: type | None = None) -> Any:  # noqa: ANN401  # the descriptor protocol
        if instance is None:
            return self
        value = instance._temperature
        return value if isinstance(value, Tensor) else constant(value, instance._like())


@final
class LogitRelaxedBernoulli(BinaryProbabilities, relaxed_bernoulli.LogitRelaxedBernoulli):
    """The logits of a relaxed Bernoulli draw at a ``temperature`` (Maddison et al. 2017; Jang et al. 2017)."""

    has_rsample = True
    temperature = _Temperature()

    def __init__(
        self,
        temperature: Argument,
        probs: Argument | None = None,
        logits: Argument | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self._temperature = as_argument(self, "temperature", temperature)
        self._begin_binary(validate_args, probs, logits)
        if self._validate_args:
            check_arguments(self, True, (("temperature", constraints.positive, self._temperature),))

    def rsample(self, sample_shape: _size = SCALAR) -> Tensor:
        """Draw logits with a gradient."""
        probs = clamp_probs(self._raw_probs())
        noise = clamp_probs(randomness.uniform(self._draw_shape(sample_shape), like=probs))
        return (noise.log() - (-noise).log1p() + probs.log() - (-probs).log1p()) / self._temperature


@final
class RelaxedBernoulli(ClosedForm, torch_distributions.RelaxedBernoulli):
    """A Bernoulli draw relaxed to the unit interval at a ``temperature``, with a gradient in its probability."""

    argument_names = ("temperature", "probs", "logits")

    def __init__(
        self,
        temperature: Argument,
        probs: Argument | None = None,
        logits: Argument | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self._base = base = LogitRelaxedBernoulli(temperature, probs, logits, validate_args=False)
        self._temperature, self._probs, self._logits = base._temperature, base._probs, base._logits
        self._batch_shape, self._event_shape = base._batch_shape, SCALAR
        stated = constraints.unit_interval if base._given == "probs" else constraints.real
        checks = (("temperature", constraints.positive, temperature), (base._given, stated, base._stated()))
        check_arguments(self, validate_args, checks)

    def _make_base(self) -> LogitRelaxedBernoulli:
        return self._base

    def _make_transforms(self) -> list[Transform]:
        return [SigmoidTransform()]

    def rsample(self, sample_shape: _size = SCALAR) -> Tensor:
        """Draw with a gradient."""
        return self._forward(self.base_dist.rsample(sample_shape))
