"""Schedules that state the learning rates themselves, whatever the optimizer's options say: one cycle, and many."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor

from aleator.optim.epoch_schedules import require_positive_integer
from aleator.optim.schedule import EpochSchedule

__all__ = ["CyclicLR", "OneCycleLR"]


def refuse_cycled_momentum(owner: str, cycle_momentum: bool) -> None:
    """Raise ``ValueError``: momentum and betas are fixed options here."""
    if cycle_momentum:
        raise ValueError(
            f"{owner}: momentum and betas are fixed; only the learning rate can cycle (cycle_momentum=False)"
        )


@final
@dataclass(frozen=True)
class OneCycleLR(EpochSchedule):
    """The rate rises to ``max_lr`` and falls far below where it began.

    Unlike torch's, it leaves momentum alone; after the last step the rate stays at its lowest.
    Source: Smith and Topin, 2019, https://arxiv.org/abs/1708.07120.

    Attributes:
        max_lr: the highest rate.
        total_steps: epochs in the cycle; or ``epochs * steps_per_epoch``.
        epochs: see ``total_steps``.
        steps_per_epoch: see ``total_steps``.
        pct_start: part of the cycle in which the rate rises.
        anneal_strategy: ``"cos"`` or ``"linear"``.
        div_factor: the first rate is ``max_lr / div_factor``.
        final_div_factor: the last rate is the first divided by it.
        three_phase: fall to the first rate as fast as it rose, then to the last.
        cycle_momentum: accepted as False only.

    Example:
        >>> import torch
        >>> from aleator import optim
        >>> cycle = optim.OneCycleLR(max_lr=1.0, total_steps=11, pct_start=0.5, anneal_strategy="linear")
        >>> [round(cycle.rate(torch.tensor(0.1), torch.tensor(float(epoch))).item(), 3) for epoch in (0, 4, 10)]
        [0.04, 0.893, 0.0]
    """

    max_lr: float
    total_steps: int | None = None
    epochs: int | None = None
    steps_per_epoch: int | None = None
    pct_start: float = 0.3
    anneal_strategy: Literal["cos", "linear"] = "cos"
    div_factor: float = 25.0
    final_div_factor: float = 1e4
    three_phase: bool = False
    cycle_momentum: bool = False

    def __post_init__(self) -> None:
        """Raise ``ValueError`` where the length of the cycle is missing, or a value is out of range."""
        refuse_cycled_momentum(self.name, self.cycle_momentum)
        if self.total_steps is None:
            if self.epochs is None or self.steps_per_epoch is None:
                raise ValueError(f"{self.name} takes total_steps, or epochs and steps_per_epoch")
            object.__setattr__(self, "total_steps", self.epochs * self.steps_per_epoch)
        require_positive_integer(self.name, total_steps=self.total_steps)
        if not 0 <= self.pct_start <= 1:
            raise ValueError(f"{self.name}: pct_start must lie in [0, 1], found {self.pct_start!r}")
        if self.anneal_strategy not in ("cos", "linear"):
            raise ValueError(f"{self.name}: anneal_strategy must be 'cos' or 'linear', found {self.anneal_strategy!r}")

    def rate(self, base: Tensor, epoch: Tensor) -> Tensor:
        """Return the learning rate of an epoch."""
        start, rate = 0.0, torch.zeros_like(base)
        for number, (end, first, last) in enumerate(self._phases()):
            done = torch.clamp((epoch - start) / (end - start), max=1.0) if end > start else torch.ones_like(epoch)
            if self.anneal_strategy == "cos":
                value = last + (first - last) / 2.0 * (torch.cos(math.pi * done) + 1)
            else:
                value = first + (last - first) * done
            rate = value if number == 0 else torch.where(epoch > start, value, rate)
            start = end
        return rate

    def _phases(self) -> list[tuple[float, float, float]]:
        """Return the end, the first and the last rate of each phase."""
        steps = self.total_steps or 0
        first = self.max_lr / self.div_factor
        lowest = first / self.final_div_factor
        rise = (self.pct_start * steps - 1, first, self.max_lr)
        if not self.three_phase:
            return [rise, (steps - 1, self.max_lr, lowest)]
        return [rise, (2 * self.pct_start * steps - 2, self.max_lr, first), (steps - 1, first, lowest)]


@final
@dataclass(frozen=True)
class CyclicLR(EpochSchedule):
    """The rate goes up and down between ``base_lr`` and ``max_lr`` in straight lines.

    Unlike torch's, it leaves momentum alone. Source: Smith, 2017, https://arxiv.org/abs/1506.01186.

    Attributes:
        base_lr: the lowest rate.
        max_lr: the highest rate of the first cycle.
        step_size_up: epochs from low to high.
        step_size_down: epochs from high to low; as many as up, if None.
        mode: ``"triangular"`` keeps the height, ``"triangular2"`` halves it every cycle, ``"exp_range"`` multiplies
            it by ``gamma`` every epoch.
        gamma: see ``mode``.
        cycle_momentum: accepted as False only.

    Example:
        >>> import torch
        >>> from aleator import optim
        >>> cyclic = optim.CyclicLR(base_lr=1.0, max_lr=2.0, step_size_up=2)
        >>> [cyclic.rate(torch.tensor(0.1), torch.tensor(float(epoch))).item() for epoch in range(5)]
        [1.0, 1.5, 2.0, 1.5, 1.0]
    """

    base_lr: float
    max_lr: float
    step_size_up: int = 2000
    step_size_down: int | None = None
    mode: Literal["triangular", "triangular2", "exp_range"] = "triangular"
    gamma: float = 1.0
    cycle_momentum: bool = False

    def __post_init__(self) -> None:
        """Raise ``ValueError`` for a value out of range."""
        refuse_cycled_momentum(self.name, self.cycle_momentum)
        if self.step_size_down is None:
            object.__setattr__(self, "step_size_down", self.step_size_up)
        require_positive_integer(self.name, step_size_up=self.step_size_up, step_size_down=self.step_size_down)
        if self.mode not in ("triangular", "triangular2", "exp_range"):
            raise ValueError(
                f"{self.name}: mode must be 'triangular', 'triangular2' or 'exp_range', found {self.mode!r}"
            )

    def rate(self, base: Tensor, epoch: Tensor) -> Tensor:
        """Return the learning rate of an epoch."""
        size = self.step_size_up + (self.step_size_down or 0)
        turn = self.step_size_up / size
        cycle = torch.floor(1 + epoch / size)
        done = 1 + epoch / size - cycle
        height = torch.where(done <= turn, done / turn, (done - 1) / (turn - 1)) * (self.max_lr - self.base_lr)
        if self.mode == "triangular2":
            height = height / 2.0 ** (cycle - 1)
        elif self.mode == "exp_range":
            height = height * self.gamma**epoch
        return self.base_lr + height
