"""Stochastic gradient descent, with momentum."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from aleator.optim.kernels import count_step_, rate_for_kernel
from aleator.optim.options import Options, check_not_negative, check_rate
from aleator.optim.pure_optimizer import PureOptimizer, Slots

__all__ = ["SGD", "SGDOptions"]


@final
@dataclass(frozen=True, kw_only=True)
class SGDOptions(Options):
    """Options of `SGD`.

    Attributes:
        lr: learning rate.
        momentum: how much of the last step's direction stays; 0 keeps none.
        dampening: how much of the gradient is left out of the direction, from the second step on.
        weight_decay: L2 penalty.
        nesterov: look ahead along the new direction.
        maximize: climb instead of descending.
    """

    lr: float | Tensor = 1e-3
    momentum: float = 0.0
    dampening: float = 0.0
    weight_decay: float = 0.0
    nesterov: bool = False
    maximize: bool = False

    def check(self) -> None:
        """Raise for a negative number, and for Nesterov's rule without momentum or with dampening."""
        check_rate(self.lr)
        check_not_negative(momentum=self.momentum, weight_decay=self.weight_decay)
        if not isinstance(self.dampening, int | float):
            raise TypeError(f"dampening must be a number, found {type(self.dampening).__name__}")
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            raise ValueError(
                "nesterov=True takes a momentum above 0 and no dampening, "
                f"found momentum={self.momentum!r}, dampening={self.dampening!r}"
            )


@final
@dataclass(frozen=True, init=False)
class SGD(PureOptimizer[SGDOptions]):
    """Stochastic gradient descent; options: see `SGDOptions`.

    Example:
        >>> import torch
        >>> from aleator import optim
        >>> sgd = optim.SGD(lr=0.5)
        >>> params = {"a": torch.tensor([1.0, 2.0])}
        >>> params, state = sgd.update({"a": torch.tensor([1.0, 0.0])}, sgd.init(params), params)
        >>> params["a"]
        tensor([0.5000, 2.0000])
    """

    options_type = SGDOptions

    def initial_slots(self, param: Tensor, options: SGDOptions) -> Slots:
        """Return the direction, at zero, where there is momentum."""
        return {"momentum_buffer": torch.zeros_like(param)} if options.momentum != 0 else {}

    def factors(self, counts: Tensor, rates: Tensor, options: SGDOptions) -> tuple[Tensor, ...]:
        """Return the rate, and how much of the gradient goes into the direction: all of it at the first step."""
        if options.dampening == 0:
            return (rates,)
        return rates, torch.where(counts == 1, torch.ones_like(counts), 1.0 - options.dampening)

    def rule(
        self, param: Tensor, grad: Tensor, slots: Slots, factors: tuple[Tensor, ...], options: SGDOptions
    ) -> tuple[Tensor, Slots]:
        """Return the parameter and its slots after one step."""
        rate = factors[0]
        if options.maximize:
            grad = -grad
        if options.weight_decay != 0:
            grad = torch.add(grad, param, alpha=options.weight_decay)
        if options.momentum == 0:
            return param - rate * grad, {}
        fresh = grad if options.dampening == 0 else grad * factors[1]
        direction = slots["momentum_buffer"] * options.momentum + fresh
        ahead = torch.add(grad, direction, alpha=options.momentum) if options.nesterov else direction
        return param - rate * ahead, {"momentum_buffer": direction}

    def fused_(
        self, params: list[Tensor], grads: list[Tensor], slots: list[Slots], rate: Tensor, options: SGDOptions
    ) -> bool:
        """Take the step by torch's fused kernel, which cannot dampen: it would have to know which step is the first."""
        if options.momentum != 0 and options.dampening != 0:
            return False
        torch._fused_sgd_(
            params,
            grads,
            [slot["momentum_buffer"] for slot in slots] if options.momentum != 0 else [],
            weight_decay=options.weight_decay,
            momentum=options.momentum,
            lr=rate_for_kernel(rate, params[0]),
            dampening=0.0,
            nesterov=options.nesterov,
            maximize=options.maximize,
            is_first_step=False,  # without dampening a direction of zeros is as good as none
        )
        count_step_(slots)
        return True
