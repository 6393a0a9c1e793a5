"""Schedules made of schedules."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from aleator.optim.schedule import EpochSchedule

__all__ = ["ChainedScheduler", "SequentialLR"]


def _epoch_schedules(owner: str, schedulers: object) -> tuple[EpochSchedule, ...]:
    """Return the schedules as a tuple, if all of them are functions of the epoch."""
    if not isinstance(schedulers, tuple | list) or not schedulers:
        raise TypeError(f"{owner}: schedulers must be a list of schedules, found {schedulers!r}")
    for schedule in schedulers:
        if not isinstance(schedule, EpochSchedule):
            raise TypeError(
                f"{owner} combines schedules that are a function of the epoch; found {type(schedule).__name__}"
            )
    return tuple(schedulers)


@final
@dataclass(frozen=True)
class SequentialLR(EpochSchedule):
    """One schedule after the other, each counting its epochs from its milestone.

    Example:
        >>> import torch
        >>> from aleator import optim
        >>> warmed = optim.SequentialLR([optim.LinearLR(0.5, total_iters=2), optim.ExponentialLR(0.5)], milestones=[2])
        >>> [warmed.rate(torch.tensor(1.0), torch.tensor(float(epoch))).item() for epoch in range(4)]
        [0.5, 0.75, 1.0, 0.5]
    """

    schedulers: tuple[EpochSchedule, ...] | list[EpochSchedule]
    milestones: tuple[int, ...] | list[int]

    def __post_init__(self) -> None:
        """Raise where there is not one milestone fewer than there are schedules, or they do not rise."""
        object.__setattr__(self, "schedulers", _epoch_schedules(self.name, self.schedulers))
        object.__setattr__(self, "milestones", tuple(self.milestones))
        if len(self.milestones) != len(self.schedulers) - 1:
            raise ValueError(
                f"{self.name}: {len(self.schedulers)} schedulers need {len(self.schedulers) - 1} milestones, "
                f"found {len(self.milestones)}"
            )
        if list(self.milestones) != sorted(set(self.milestones)):
            raise ValueError(f"{self.name}: milestones must rise, found {self.milestones}")

    def rate(self, base: Tensor, epoch: Tensor) -> Tensor:
        """Return the learning rate of an epoch."""
        rate = self.schedulers[0].rate(base, epoch)
        for milestone, schedule in zip(self.milestones, self.schedulers[1:], strict=True):
            # Epochs before the milestone are held at 0: a schedule need not make sense of negative ones.
            later = schedule.rate(base, torch.clamp(epoch - milestone, min=0.0))
            rate = torch.where(epoch >= milestone, later, rate)
        return rate


@final
@dataclass(frozen=True)
class ChainedScheduler(EpochSchedule):
    """All schedules at once: each takes the rate that the one before it gives as its base.

    Example:
        >>> import torch
        >>> from aleator import optim
        >>> both = optim.ChainedScheduler([optim.ConstantLR(0.5, total_iters=2), optim.ExponentialLR(0.5)])
        >>> [both.rate(torch.tensor(1.0), torch.tensor(float(epoch))).item() for epoch in range(4)]
        [0.5, 0.25, 0.25, 0.125]
    """

    schedulers: tuple[EpochSchedule, ...] | list[EpochSchedule]

    def __post_init__(self) -> None:
        """Raise where one of them is no function of the epoch."""
        object.__setattr__(self, "schedulers", _epoch_schedules(self.name, self.schedulers))

    def rate(self, base: Tensor, epoch: Tensor) -> Tensor:
        """Return the learning rate of an epoch."""
        rate = base
        for schedule in self.schedulers:
            rate = schedule.rate(rate, epoch)
        return rate
