"""Schedules that multiply or interpolate the learning rate by the number of the epoch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from aleator.optim.schedule import EpochSchedule

__all__ = [
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "ExponentialLR",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "PolynomialLR",
    "StepLR",
]


def require_positive_integer(owner: str, **values: object) -> None:
    """Raise unless every value is an integer above 0."""
    for name, value in values.items():
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"{owner}: {name} must be an integer above 0, found {value!r}")


def require_unit_interval(owner: str, **values: float) -> None:
    """Raise unless every value lies in [0, 1]."""
    for name, value in values.items():
        if not 0 <= value <= 1:
            raise ValueError(f"{owner}: {name} must lie in [0, 1], found {value!r}")


@final
@dataclass(frozen=True)
class ExponentialLR(EpochSchedule):
    """The rate is multiplied by ``gamma`` every epoch.

    Example:
        >>> import torch
        >>> from aleator import optim
        >>> optim.ExponentialLR(gamma=0.5).rate(torch.tensor(1.0), torch.tensor(3.0))
        tensor(0.1250)
    """

    gamma: float

    def rate(self, base: Tensor, epoch: Tensor) -> Tensor:
        """Return the learning rate of an epoch."""
        return base * self.gamma**epoch


@final
@dataclass(frozen=True)
class StepLR(EpochSchedule):
    """The rate is multiplied by ``gamma`` every ``step_size`` epochs.

    Example:
        >>> import torch
        >>> from aleator import optim
        >>> optim.StepLR(step_size=10, gamma=0.5).rate(torch.tensor(1.0), torch.tensor(19.0))
        tensor(0.5000)
    """

    step_size: int
    gamma: float = 0.1

    def __post_init__(self) -> None:
        """Raise ``ValueError`` for a step of no epochs."""
        require_positive_integer(self.name, step_size=self.step_size)

    def rate(self, base: Tensor, epoch: Tensor) -> Tensor:
        """Return the learning rate of an epoch."""
        return base * self.gamma ** torch.floor(epoch / self.step_size)


@final
@dataclass(frozen=True)
class MultiStepLR(EpochSchedule):
    """The rate is multiplied by ``gamma`` at each milestone; one that is listed twice counts twice.

    Example:
        >>> import torch
        >>> from aleator import optim
        >>> optim.MultiStepLR(milestones=(2, 5), gamma=0.5).rate(torch.tensor(1.0), torch.tensor(5.0))
        tensor(0.2500)
    """

    milestones: tuple[int, ...]
    gamma: float = 0.1

    def __post_init__(self) -> None:
        """Keep the milestones in order, as a tuple."""
        object.__setattr__(self, "milestones", tuple(sorted(self.milestones)))

    def rate(self, base: Tensor, epoch: Tensor) -> Tensor:
        """Return the learning rate of an epoch."""
        passed = torch.zeros_like(epoch)
        for milestone in self.milestones:
            passed = passed + (epoch >= milestone)
        return base * self.gamma**passed


@final
@dataclass(frozen=True)
class ConstantLR(EpochSchedule):
    """The rate is multiplied by ``factor`` until epoch ``total_iters``.

    Example:
        >>> import torch
        >>> from aleator import optim
        >>> optim.ConstantLR(factor=0.5, total_iters=2).rate(torch.tensor(1.0), torch.tensor(1.0))
        tensor(0.5000)
    """

    factor: float = 1.0 / 3
    total_iters: int = 5

    def __post_init__(self) -> None:
        """Raise ``ValueError`` for a factor outside [0, 1]."""
        require_unit_interval(self.name, factor=self.factor)

    def rate(self, base: Tensor, epoch: Tensor) -> Tensor:
        """Return the learning rate of an epoch."""
        return torch.where(epoch < self.total_iters, base * self.factor, base)


@final
@dataclass(frozen=True)
class LinearLR(EpochSchedule):
    """The rate's factor goes from ``start_factor`` to ``end_factor`` in ``total_iters`` epochs, and stays there.

    Example:
        >>> import torch
        >>> from aleator import optim
        >>> optim.LinearLR(start_factor=0.5, total_iters=4).rate(torch.tensor(1.0), torch.tensor(2.0))
        tensor(0.7500)
    """

    start_factor: float = 1.0 / 3
    end_factor: float = 1.0
    total_iters: int = 5

    def __post_init__(self) -> None:
        """Raise ``ValueError`` for a factor outside [0, 1] or a ramp of no epochs."""
        require_unit_interval(self.name, start_factor=self.start_factor, end_factor=self.end_factor)
        require_positive_integer(self.name, total_iters=self.total_iters)

    def rate(self, base: Tensor, epoch: Tensor) -> Tensor:
        """Return the learning rate of an epoch."""
        done = torch.clamp(epoch / self.total_iters, max=1.0)
        return base * (self.start_factor + (self.end_factor - self.start_factor) * done)


@final
@dataclass(frozen=True)
class PolynomialLR(EpochSchedule):
    """The rate falls to 0 in ``total_iters`` epochs, as ``(1 - epoch / total_iters) ** power``.

    Example:
        >>> import torch
        >>> from aleator import optim
        >>> optim.PolynomialLR(total_iters=4, power=2.0).rate(torch.tensor(1.0), torch.tensor(2.0))
        tensor(0.2500)
    """

    total_iters: int = 5
    power: float = 1.0

    def __post_init__(self) -> None:
        """Raise ``ValueError`` for a fall of no epochs."""
        require_positive_integer(self.name, total_iters=self.total_iters)

    def rate(self, base: Tensor, epoch: Tensor) -> Tensor:
        """Return the learning rate of an epoch."""
        return base * (1 - torch.clamp(epoch / self.total_iters, max=1.0)) ** self.power


@final
@dataclass(frozen=True)
class CosineAnnealingLR(EpochSchedule):
    """The rate swings between its base and ``eta_min`` as a cosine of period ``2 * T_max``.

    Source: Loshchilov and Hutter, 2017, https://arxiv.org/abs/1608.03983, equation 5, without restarts.

    Example:
        >>> import torch
        >>> from aleator import optim
        >>> optim.CosineAnnealingLR(T_max=10, eta_min=0.5).rate(torch.tensor(1.5), torch.tensor(5.0))
        tensor(1.)
    """

    T_max: int
    eta_min: float = 0.0

    def __post_init__(self) -> None:
        """Raise ``ValueError`` for half a period of no epochs."""
        require_positive_integer(self.name, T_max=self.T_max)

    def rate(self, base: Tensor, epoch: Tensor) -> Tensor:
        """Return the learning rate of an epoch."""
        return self.eta_min + (base - self.eta_min) * (1 + torch.cos(math.pi * epoch / self.T_max)) / 2


@final
@dataclass(frozen=True)
class CosineAnnealingWarmRestarts(EpochSchedule):
    """The rate falls from its base to ``eta_min`` as a cosine, again and again, each fall ``T_mult`` times as long.

    Source: Loshchilov and Hutter, 2017, https://arxiv.org/abs/1608.03983, equation 5.

    Example:
        >>> import torch
        >>> from aleator import optim
        >>> restarts = optim.CosineAnnealingWarmRestarts(T_0=2, T_mult=2)
        >>> [round(restarts.rate(torch.tensor(1.0), torch.tensor(float(epoch))).item(), 3) for epoch in range(7)]
        [1.0, 0.5, 1.0, 0.854, 0.5, 0.146, 1.0]
    """

    T_0: int
    T_mult: int = 1
    eta_min: float = 0.0

    def __post_init__(self) -> None:
        """Raise ``ValueError`` for a fall of no epochs, or one that does not keep its length or grow."""
        require_positive_integer(self.name, T_0=self.T_0, T_mult=self.T_mult)

    def rate(self, base: Tensor, epoch: Tensor) -> Tensor:
        """Return the learning rate of an epoch."""
        falls = epoch / self.T_0
        if self.T_mult == 1:
            done = falls - torch.floor(falls)
        else:
            # The fall of number n starts at T_0 (T_mult^n - 1) / (T_mult - 1). Rounding must not put an epoch on which
            # a fall starts before it; the next epoch below is further away than 1e-12 in every run that can end.
            number = torch.floor(torch.log(falls * (self.T_mult - 1) + 1) / math.log(self.T_mult) + 1e-12)
            length = self.T_mult**number
            done = (falls - (length - 1) / (self.T_mult - 1)) / length
        return self.eta_min + (base - self.eta_min) * (1 + torch.cos(math.pi * done)) / 2


@final
@dataclass(frozen=True)
class LambdaLR(EpochSchedule):
    """The rate is multiplied by a function of the epoch.

    Args:
        lr_lambda: takes the epoch, a tensor without dimensions, and returns a number or such a tensor. Python's
            arithmetic, comparisons and ``math`` work on it in eager steps; what is captured or compiled must be
            written with tensor operations.

    Example:
        >>> import torch
        >>> from aleator import optim
        >>> optim.LambdaLR(lambda epoch: 1 / (1 + epoch)).rate(torch.tensor(1.0), torch.tensor(3.0))
        tensor(0.2500)
    """

    lr_lambda: Callable[[Tensor], Tensor | float]

    def __post_init__(self) -> None:
        """Raise ``TypeError`` for what cannot be called."""
        require_callable(self.name, self.lr_lambda)

    def rate(self, base: Tensor, epoch: Tensor) -> Tensor:
        """Return the learning rate of an epoch."""
        return base * self.lr_lambda(epoch)


def require_callable(owner: str, lr_lambda: object) -> None:
    """Raise ``TypeError`` unless the function of the epoch is one function for all parameters."""
    if not callable(lr_lambda):
        raise TypeError(f"{owner}: lr_lambda must be one function of the epoch, found {type(lr_lambda).__name__}")
