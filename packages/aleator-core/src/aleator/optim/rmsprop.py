"""RMSprop: steps scaled by a running mean of the squared gradient."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from aleator.optim.options import Options, check_not_negative, check_rate
from aleator.optim.pure_optimizer import PureOptimizer, Slots

__all__ = ["RMSprop", "RMSpropOptions"]


@final
@dataclass(frozen=True, kw_only=True)
class RMSpropOptions(Options):
    """Options of `RMSprop`.

    Attributes:
        lr: learning rate.
        alpha: decay of the running mean of the squared gradient.
        eps: added to its root.
        weight_decay: L2 penalty.
        momentum: how much of the last step stays; 0 keeps none.
        centered: divide by the running standard deviation instead of the root mean square.
        maximize: climb instead of descending.
    """

    lr: float | Tensor = 1e-2
    alpha: float = 0.99
    eps: float = 1e-8
    weight_decay: float = 0.0
    momentum: float = 0.0
    centered: bool = False
    maximize: bool = False

    def check(self) -> None:
        """Raise for a negative number."""
        check_rate(self.lr)
        check_not_negative(alpha=self.alpha, eps=self.eps, weight_decay=self.weight_decay, momentum=self.momentum)


@final
@dataclass(frozen=True, init=False)
class RMSprop(PureOptimizer[RMSpropOptions]):
    """RMSprop; options: see `RMSpropOptions`.

    Source: Tieleman and Hinton, 2012, lecture 6.5; centered: Graves, 2013, https://arxiv.org/abs/1308.0850,
    section 4.2.

    Example:
        >>> import torch
        >>> from aleator import optim
        >>> rmsprop = optim.RMSprop(lr=0.01, alpha=0.75)
        >>> params = {"a": torch.tensor(1.0)}
        >>> params, state = rmsprop.update({"a": torch.tensor(3.0)}, rmsprop.init(params), params)
        >>> params["a"]
        tensor(0.9800)
    """

    options_type = RMSpropOptions

    def initial_slots(self, param: Tensor, options: RMSpropOptions) -> Slots:
        """Return the running means and the step, as far as the options use them, at zero."""
        slots = {"square_avg": torch.zeros_like(param)}
        if options.centered:
            slots["grad_avg"] = torch.zeros_like(param)
        if options.momentum != 0:
            slots["momentum_buffer"] = torch.zeros_like(param)
        return slots

    def factors(self, counts: Tensor, rates: Tensor, options: RMSpropOptions) -> tuple[Tensor, ...]:
        """Return the rate."""
        return (rates,)

    def rule(
        self, param: Tensor, grad: Tensor, slots: Slots, factors: tuple[Tensor, ...], options: RMSpropOptions
    ) -> tuple[Tensor, Slots]:
        """Return the parameter and its slots after one step."""
        (rate,) = factors
        if options.maximize:
            grad = -grad
        if options.weight_decay != 0:
            grad = torch.add(grad, param, alpha=options.weight_decay)
        square_avg = torch.addcmul(slots["square_avg"] * options.alpha, grad, grad, value=1 - options.alpha)
        kept = {"square_avg": square_avg}
        variance = square_avg
        if options.centered:
            kept["grad_avg"] = torch.lerp(slots["grad_avg"], grad, 1 - options.alpha)
            variance = torch.addcmul(square_avg, kept["grad_avg"], kept["grad_avg"], value=-1.0)
        scaled = grad / (variance.sqrt() + options.eps)
        if options.momentum != 0:
            scaled = kept["momentum_buffer"] = slots["momentum_buffer"] * options.momentum + scaled
        return param - rate * scaled, kept
