"""What a learning-rate schedule is."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import torch
from torch import Tensor

__all__ = ["EpochSchedule", "Memory", "Rates", "Schedule"]

Rates = dict[str, Tensor]
Memory = dict[str, Tensor]


class Advance(NamedTuple):
    """Learning rates and memory of a schedule, one epoch later."""

    rates: Rates
    memory: Memory


class Schedule(ABC):
    """A frozen configuration that says how learning rates change from epoch to epoch.

    Everything is a function of tensors, so that a schedule can be captured with the step. An epoch is whatever the
    caller counts: one `Optimizer.scheduler_step`.

    Called with Pyro's dict, ``ExponentialLR({"optimizer": Adam, "optim_args": {"lr": 0.01}, "gamma": 0.1})``, a
    schedule's class gives the optimizer with the schedule on it, a `Scheduled`.
    """

    def __new__(cls, *args: object, **keywords: object) -> Self:  # noqa: D102  # the class says what a dict gives
        if args and isinstance(args[0], Mapping):
            from aleator.optim.scheduled import scheduled_from

            build: Any = scheduled_from
            return build(cls, *args, **keywords)  # type: ignore[no-any-return]  # Pyro's form gives another class
        return super().__new__(cls)

    @property
    def name(self) -> str:
        """The class's name."""
        return type(self).__name__

    @property
    def requires_loss(self) -> bool:
        """Whether an epoch's loss decides."""
        return False

    def begin(self, like: Tensor) -> Memory:
        """Return what the schedule remembers before its first epoch: at least the epoch counter, 0.

        Args:
            like: a learning rate, whose dtype and device the memory takes.
        """
        return {"epoch": torch.zeros_like(like)}

    @abstractmethod
    def initial(self, base: Tensor, memory: Memory) -> Tensor:
        """Return the rate of a parameter that joins now, from its rate without a schedule, as a new tensor."""

    @abstractmethod
    def advance(self, rates: Rates, base_rates: Rates, memory: Memory, loss: Tensor | None) -> Advance:
        """Return learning rates and memory one epoch later; pure."""


class EpochSchedule(Schedule):
    """A schedule whose rates are a function of the epoch's number alone."""

    @abstractmethod
    def rate(self, base: Tensor, epoch: Tensor) -> Tensor:
        """Return the learning rate of an epoch as a new tensor.

        Args:
            base: learning rate without the schedule, without dimensions.
            epoch: number of the epoch, 0 for the first, without dimensions, of ``base``'s dtype.
        """

    def initial(self, base: Tensor, memory: Memory) -> Tensor:
        """Return the present epoch's rate."""
        return self._rate(base, memory["epoch"])

    def advance(self, rates: Rates, base_rates: Rates, memory: Memory, loss: Tensor | None) -> Advance:
        """Return the next epoch's rates."""
        epoch = memory["epoch"] + 1
        return Advance({name: self._rate(base, epoch) for name, base in base_rates.items()}, {"epoch": epoch})

    def _rate(self, base: Tensor, epoch: Tensor) -> Tensor:
        return self.rate(base, epoch.to(base.device)).to(base)
