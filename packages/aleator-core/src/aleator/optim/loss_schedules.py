"""Schedules that go from one rate to the next: by the loss, or by a factor per epoch."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, final

import torch
from torch import Tensor

from aleator.optim.epoch_schedules import require_callable
from aleator.optim.schedule import Advance, Memory, Rates, Schedule

__all__ = ["MultiplicativeLR", "ReduceLROnPlateau"]


@final
@dataclass(frozen=True)
class MultiplicativeLR(Schedule):
    """Each epoch's rate is the last one's times a function of the epoch.

    Args:
        lr_lambda: as for `LambdaLR`.

    Example:
        >>> import torch
        >>> from aleator import optim
        >>> falling = optim.Scheduled(optim.SGD(lr=1.0), optim.MultiplicativeLR(lambda epoch: 0.5))
        >>> state = falling.scheduler_step(falling.init({"a": torch.tensor(0.0)}))
        >>> falling.learning_rate(state, "a").item()
        0.5
    """

    lr_lambda: Callable[[Tensor], Tensor | float]

    def __post_init__(self) -> None:
        """Raise ``TypeError`` for what cannot be called."""
        require_callable(self.name, self.lr_lambda)

    def initial(self, base: Tensor, memory: Memory) -> Tensor:
        """Return the rate without a schedule."""
        return base.clone()

    def advance(self, rates: Rates, base_rates: Rates, memory: Memory, loss: Tensor | None) -> Advance:
        """Return the next epoch's rates."""
        epoch = memory["epoch"] + 1
        factor = self.lr_lambda(epoch)
        return Advance({name: (rate * factor).to(rate) for name, rate in rates.items()}, {"epoch": epoch})


@final
@dataclass(frozen=True)
class ReduceLROnPlateau(Schedule):
    """The rate is multiplied by ``factor`` when the loss has not improved for more than ``patience`` epochs.

    Decided on tensors: the loss is not read back from its device.

    Attributes:
        mode: ``"min"`` where a smaller loss is better, ``"max"`` where a larger one is.
        factor: below 1.
        patience: epochs without improvement that pass unpunished.
        threshold: how much better counts as better.
        threshold_mode: ``"rel"`` measures the threshold by the best loss so far, ``"abs"`` takes it as it is.
        cooldown: epochs after a reduction in which none is counted.
        min_lr: the rate falls no lower.
        eps: a reduction by no more than this is left out.

    Example:
        >>> import torch
        >>> from aleator import optim
        >>> plateau = optim.Scheduled(optim.SGD(lr=1.0), optim.ReduceLROnPlateau(factor=0.5, patience=0))
        >>> state = plateau.init({"a": torch.tensor(0.0)})
        >>> for loss in (3.0, 2.0, 2.0):
        ...     state = plateau.scheduler_step(state, torch.tensor(loss))
        >>> plateau.learning_rate(state, "a").item()
        0.5
    """

    mode: Literal["min", "max"] = "min"
    factor: float = 0.1
    patience: int = 10
    threshold: float = 1e-4
    threshold_mode: Literal["rel", "abs"] = "rel"
    cooldown: int = 0
    min_lr: float = 0.0
    eps: float = 1e-8

    def __post_init__(self) -> None:
        """Raise ``ValueError`` for a value out of range."""
        if not 0 <= self.factor < 1:
            raise ValueError(f"{self.name}: factor must lie in [0, 1), found {self.factor!r}")
        if self.mode not in ("min", "max"):
            raise ValueError(f"{self.name}: mode must be 'min' or 'max', found {self.mode!r}")
        if self.threshold_mode not in ("rel", "abs"):
            raise ValueError(f"{self.name}: threshold_mode must be 'rel' or 'abs', found {self.threshold_mode!r}")
        if not isinstance(self.min_lr, int | float):
            raise TypeError(f"{self.name}: min_lr must be one number for all parameters, found {self.min_lr!r}")

    @property
    def requires_loss(self) -> bool:
        """True."""
        return True

    def begin(self, like: Tensor) -> Memory:
        """Return the epoch counter, the best loss so far, and how many epochs were bad or are left to cool down."""
        worst = math.inf if self.mode == "min" else -math.inf
        return {
            "epoch": torch.zeros_like(like),
            "best": torch.full_like(like, worst),
            "bad_epochs": torch.zeros_like(like),
            "cooldown": torch.zeros_like(like),
        }

    def initial(self, base: Tensor, memory: Memory) -> Tensor:
        """Return the rate without a schedule."""
        return base.clone()

    def advance(self, rates: Rates, base_rates: Rates, memory: Memory, loss: Tensor | None) -> Advance:
        """Return the next epoch's rates."""
        best = memory["best"]
        current = torch.as_tensor(loss).detach().to(best)
        better = self._is_better(current, best)
        cooling = memory["cooldown"] > 0
        bad = torch.where(better | cooling, 0.0, memory["bad_epochs"] + 1)
        left = torch.where(cooling, memory["cooldown"] - 1, memory["cooldown"])
        reduce = bad > self.patience
        remembered = {
            "epoch": memory["epoch"] + 1,
            "best": torch.where(better, current, best),
            "bad_epochs": torch.where(reduce, 0.0, bad),
            "cooldown": torch.where(reduce, self.cooldown, left),
        }
        kept = {name: value.to(best) for name, value in remembered.items()}
        return Advance({name: self._reduced(rate, reduce.to(rate.device)) for name, rate in rates.items()}, kept)

    def _is_better(self, current: Tensor, best: Tensor) -> Tensor:
        sign = 1.0 if self.mode == "min" else -1.0
        if self.threshold_mode == "rel":
            return sign * current < sign * best * (1 - sign * self.threshold)
        return sign * current < sign * best - self.threshold

    def _reduced(self, rate: Tensor, reduce: Tensor) -> Tensor:
        lower = torch.clamp(rate * self.factor, min=self.min_lr)
        return torch.where(reduce & (rate - lower > self.eps), lower, rate)
