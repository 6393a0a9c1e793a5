"""Counts: Poisson, binomial, negative binomial, geometric, multinomial."""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor
from torch import distributions as torch_distributions
from torch.distributions import constraints
from torch.types import _size

from aleator import randomness
from aleator.distributions.arguments import (
    SCALAR,
    Argument,
    Broadcast,
    as_kind,
    check_arguments,
    lgamma_of,
    log_of,
    operand,
)
from aleator.distributions.categorical import Categorical, draw_index
from aleator.distributions.distribution import ExponentialFamily
from aleator.distributions.gamma import positive_gamma
from aleator.distributions.probabilities import BinaryProbabilities, CategoryProbabilities
from aleator.errors import ParameterError

__all__ = ["Binomial", "Geometric", "Multinomial", "NegativeBinomial", "Poisson"]


@final
class Poisson(ExponentialFamily, torch_distributions.Poisson):
    """The number of events where they come at a ``rate``."""

    argument_names = ("rate",)
    rate = Broadcast()
    _rate: Argument

    def __init__(self, rate: Argument, validate_args: bool | None = None) -> None:
        self._begin(validate_args, rate=rate)

    def sample(self, sample_shape: _size = SCALAR) -> Tensor:
        """Draw counts, in the dtype of the rate."""
        return randomness.poisson(as_kind(self._rate, None).expand(self._draw_shape(sample_shape)))

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-probability, over the joint shape of value and batch."""
        if value.__class__ is not Tensor or value.shape != self._batch_shape:
            value = self._aligned(value)
        rate = self._rate
        expected = value.xlogy(rate) if isinstance(rate, Tensor) or rate == 0 else value * log_of(rate)
        return expected - as_kind(rate, value) - (value + operand(1.0, value)).lgamma()


def _as_count(total_count: Argument, kind: Tensor) -> Argument:
    """Return a number of trials in the dtype of the probabilities; Python numbers stay."""
    if isinstance(total_count, Tensor) and total_count.dtype != kind.dtype:
        return total_count.to(kind.dtype)
    return total_count


@final
class Binomial(BinaryProbabilities, torch_distributions.Binomial):
    """The number of successes in ``total_count`` trials."""

    argument_names = ("total_count", "probs", "logits")
    total_count = Broadcast()
    _total_count: Argument

    def __init__(
        self,
        total_count: Argument = 1,
        probs: Argument | None = None,
        logits: Argument | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self._begin_binary(validate_args, probs, logits, total_count=total_count)
        self._total_count = _as_count(self._total_count, self._stated())

    @property
    def support(self) -> constraints.Constraint:
        """The integers from 0 to the number of trials."""
        return constraints.integer_interval(0, self._total_count)  # type: ignore[no-untyped-call]  # untyped in torch

    def sample(self, sample_shape: _size = SCALAR) -> Tensor:
        """Draw counts, in the dtype of the probabilities."""
        shape = self._draw_shape(sample_shape)
        return randomness.binomial(self.total_count.expand(shape), self.probs.expand(shape))

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-probability, over the joint shape of value and batch."""
        if value.__class__ is not Tensor or value.shape != self._batch_shape:
            value = self._aligned(value)
        count = self._total_count
        choices = lgamma_of(count + 1.0) - (value + 1.0).lgamma() - (count - value + 1.0).lgamma()
        return choices + value * self._raw_logits() + count * self._log_failure()

    def enumerate_support(self, expand: bool = True) -> Tensor:
        """Return the counts from 0 to the number of trials, which must be one number for the whole batch.

        Raises:
            NotImplementedError: where the batch has different numbers of trials.
        """
        count = self._total_count
        if isinstance(count, Tensor):
            if bool((count != count.max()).any()):
                raise NotImplementedError("enumerate_support of a Binomial with several values of total_count")
            count = count.max().item()
        like = self._stated()
        values = torch.arange(1 + int(count), dtype=like.dtype, device=like.device)
        values = values.reshape((-1,) + (1,) * len(self._batch_shape))
        return values.expand((-1, *self._batch_shape)) if expand else values


@final
class NegativeBinomial(BinaryProbabilities, torch_distributions.NegativeBinomial):
    """The number of successes, each with probability ``probs``, before ``total_count`` failures."""

    argument_names = ("total_count", "probs", "logits")
    total_count = Broadcast()
    _total_count: Argument

    def __init__(
        self,
        total_count: Argument,
        probs: Argument | None = None,
        logits: Argument | None = None,
        validate_args: bool | None = None,
    ) -> None:
        self._begin_binary(validate_args, probs, logits, total_count=total_count)
        self._total_count = _as_count(self._total_count, self._stated())

    def sample(self, sample_shape: _size = SCALAR) -> Tensor:
        """Draw a Poisson count of a gamma rate."""
        shape = self._draw_shape(sample_shape)
        with torch.no_grad():
            rate = positive_gamma(self.total_count.expand(shape), (-self._raw_logits()).exp().expand(shape))
        return randomness.poisson(rate)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-probability, over the joint shape of value and batch."""
        if value.__class__ is not Tensor or value.shape != self._batch_shape:
            value = self._aligned(value)
        count = self._total_count
        total = value + count
        choices = total.lgamma() - (value + 1.0).lgamma() - lgamma_of(count)
        # No failures asked for and none seen: there is one way, though the gamma function has its pole there.
        choices = choices.masked_fill(total == 0.0, 0.0)
        log_success = torch.nn.functional.logsigmoid(self._raw_logits())
        return choices + count * self._log_failure() + value * log_success


@final
class Geometric(BinaryProbabilities, torch_distributions.Geometric):
    """The number of failures before the first success, each trial with success probability ``probs``."""

    def __init__(
        self, probs: Argument | None = None, logits: Argument | None = None, validate_args: bool | None = None
    ) -> None:
        self._begin_binary(validate_args, probs, logits)
        if self._validate_args and self._given == "probs":
            check_arguments(self, True, (("probs", constraints.positive, self._probs),))

    def sample(self, sample_shape: _size = SCALAR) -> Tensor:
        """Draw by the inverse of the distribution function, in the dtype of the probabilities."""
        probs = self._raw_probs()
        tiny = torch.finfo(probs.dtype).tiny
        with torch.no_grad():
            noise = randomness.uniform(self._draw_shape(sample_shape), tiny, 1.0, like=probs)
            return (noise.log() / (-probs).log1p()).floor()

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-probability, over the joint shape of value and batch."""
        if value.__class__ is not Tensor or value.shape != self._batch_shape:
            value = self._aligned(value)
        probs = self._raw_probs()
        # A certain success at the first trial: no failure to take the logarithm of.
        failing = torch.where((probs == 1) & (value == 0), 0.0, probs)
        return value * (-failing).log1p() + probs.log()


@final
class Multinomial(CategoryProbabilities, torch_distributions.Multinomial):
    """How often each of ``K`` categories comes in ``total_count`` draws.

    Args:
        total_count: a Python integer; one number for the whole batch.
        probs, logits: weights or log-weights with the categories in the last dim.
        validate_args: whether to check arguments and shapes; by default as the context says.
    """

    def __init__(
        self,
        total_count: int = 1,
        probs: Tensor | None = None,
        logits: Tensor | None = None,
        validate_args: bool | None = None,
    ) -> None:
        if not isinstance(total_count, int):
            raise ParameterError(f"Multinomial expects 'total_count' as an int, but found {type(total_count).__name__}")
        self.total_count = total_count
        self._begin_categories(validate_args, probs, logits)

    @property
    def _categorical(self) -> Categorical:  # type: ignore[override]  # torch has an attribute here
        index = Categorical(self._probs, self._logits, validate_args=False)
        return index if index._batch_shape == self._batch_shape else index.expand(self._batch_shape)

    @property
    def _binomial(self) -> Binomial:  # type: ignore[override]  # torch has an attribute here
        return Binomial(self.total_count, probs=self.probs, validate_args=False)

    def sample(self, sample_shape: _size = SCALAR) -> Tensor:
        """Draw vectors of counts, in the dtype of the probabilities."""
        probs = self.probs.detach()
        shape = self._draw_shape(sample_shape)
        draws = torch.Size((self.total_count, *sample_shape))
        index = draw_index(probs, draws + self._batch_shape, draws).movedim(0, -1)
        zeros = torch.zeros_like(probs).expand(shape)
        return zeros.scatter_add(-1, index, torch.ones_like(index, dtype=probs.dtype))

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-probability of vectors of counts."""
        if value.__class__ is not Tensor or value.shape != self._batch_shape + self._event_shape:
            value = self._aligned(value)
        logits = self._raw_logits()
        logits = torch.where((value == 0) & (logits == -torch.inf), 0.0, logits)
        orders = (value.sum(-1) + 1.0).lgamma() - (value + 1.0).lgamma().sum(-1)
        return orders + (logits * value).sum(-1)
