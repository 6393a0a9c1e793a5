"""The uniform distribution on an interval."""

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
    as_argument,
    as_kind,
    broadcast_shapes,
    check_arguments,
    log_of,
    operand,
    pair_shape,
    shifted,
)
from aleator.distributions.distribution import Distribution

__all__ = ["Uniform"]


@final
class Uniform(Distribution, torch_distributions.Uniform):
    """The uniform distribution on ``[low, high)``."""

    argument_names = ("low", "high")
    low = Broadcast()
    _low: Argument
    high = Broadcast()
    _high: Argument

    def __init__(self, low: Argument, high: Argument, validate_args: bool | None = None) -> None:
        self._low = low = as_argument(self, "low", low)
        self._high = high = as_argument(self, "high", high)
        self._batch_shape = pair_shape(self, "low", low, "high", high)
        self._event_shape = SCALAR
        check_arguments(self, validate_args, (self._order(low, high),))

    @staticmethod
    def _order(low: Argument, high: Argument) -> tuple[str, constraints.Constraint, Argument]:
        """State ``low < high`` as a constraint on one of the two, over the joint shape."""
        if not isinstance(low, Tensor):
            return "high", constraints.greater_than(low), high  # type: ignore[no-untyped-call]  # untyped in torch
        if not isinstance(high, Tensor):
            return "low", constraints.less_than(high), low  # type: ignore[no-untyped-call]  # untyped in torch
        if low.shape != high.shape:
            high = high.expand(broadcast_shapes(low.shape, high.shape))
        return "high", constraints.greater_than(low), high  # type: ignore[no-untyped-call]  # untyped in torch

    @property
    def support(self) -> constraints.Constraint:
        """The interval, by its bounds as they were given."""
        return constraints.interval(self._low, self._high)  # type: ignore[no-untyped-call]  # torch leaves it untyped

    def rsample(self, sample_shape: _size = SCALAR) -> Tensor:
        """Draw ``low + noise * (high - low)``."""
        noise = randomness.uniform(self._draw_shape(sample_shape), like=self._like())
        low, high = self._low, self._high
        return shifted(noise, low, high if not isinstance(low, Tensor) and low == 0.0 else high - low)

    def log_prob(self, value: Tensor) -> Tensor:
        """Return the log-density: minus the logarithm of the width inside, minus infinity outside."""
        if value.__class__ is not Tensor or value.shape != self._batch_shape:
            value = self._aligned(value)
        low, high = self._low, self._high
        inside = (value >= as_kind(low, value)) & (value < as_kind(high, value))
        log_width = as_kind(log_of(high - low), value)
        return torch.where(inside, -log_width, operand(-torch.inf, log_width))
