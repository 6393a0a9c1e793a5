"""Adagrad: steps scaled by the sum of all squared gradients so far."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from aleator.optim.kernels import count_step_, rate_for_kernel
from aleator.optim.options import Options, check_not_negative, check_rate
from aleator.optim.pure_optimizer import PureOptimizer, Slots

__all__ = ["Adagrad", "AdagradOptions"]


@final
@dataclass(frozen=True, kw_only=True)
class AdagradOptions(Options):
    """Options of `Adagrad`.

    Attributes:
        lr: learning rate.
        lr_decay: the rate of step ``t`` is ``lr / (1 + (t - 1) * lr_decay)``.
        weight_decay: L2 penalty.
        initial_accumulator_value: where the sum of squares starts.
        eps: added to the root of the sum.
        maximize: climb instead of descending.
    """

    lr: float | Tensor = 1e-2
    lr_decay: float = 0.0
    weight_decay: float = 0.0
    initial_accumulator_value: float = 0.0
    eps: float = 1e-10
    maximize: bool = False

    def check(self) -> None:
        """Raise for a negative number."""
        check_rate(self.lr)
        check_not_negative(
            lr_decay=self.lr_decay,
            weight_decay=self.weight_decay,
            initial_accumulator_value=self.initial_accumulator_value,
            eps=self.eps,
        )


@final
@dataclass(frozen=True, init=False)
class Adagrad(PureOptimizer[AdagradOptions]):
    """Adagrad; options: see `AdagradOptions`.

    Source: Duchi, Hazan and Singer, 2011, https://jmlr.org/papers/v12/duchi11a.html, figure 1 (diagonal form).

    Example:
        >>> import torch
        >>> from aleator import optim
        >>> adagrad = optim.Adagrad(lr=0.1)
        >>> params = {"a": torch.tensor([1.0, 1.0])}
        >>> params, state = adagrad.update({"a": torch.tensor([5.0, -0.2])}, adagrad.init(params), params)
        >>> params["a"]
        tensor([0.9000, 1.1000])
    """

    options_type = AdagradOptions

    def initial_slots(self, param: Tensor, options: AdagradOptions) -> Slots:
        """Return the sum of squares where it starts."""
        return {"sum": torch.full_like(param, options.initial_accumulator_value)}

    def factors(self, counts: Tensor, rates: Tensor, options: AdagradOptions) -> tuple[Tensor, ...]:
        """Return the decayed rate."""
        return (rates if options.lr_decay == 0 else rates / (1 + (counts - 1) * options.lr_decay),)

    def rule(
        self, param: Tensor, grad: Tensor, slots: Slots, factors: tuple[Tensor, ...], options: AdagradOptions
    ) -> tuple[Tensor, Slots]:
        """Return the parameter and its slots after one step."""
        (rate,) = factors
        if options.maximize:
            grad = -grad
        if options.weight_decay != 0:
            grad = torch.add(grad, param, alpha=options.weight_decay)
        total = torch.addcmul(slots["sum"], grad, grad)
        return param - rate * (grad / (total.sqrt() + options.eps)), {"sum": total}

    def fused_(
        self, params: list[Tensor], grads: list[Tensor], slots: list[Slots], rate: Tensor, options: AdagradOptions
    ) -> bool:
        """Take the step by torch's fused kernel, on the CPU."""
        if not params[0].is_cpu:
            return False
        torch._fused_adagrad_(
            params,
            grads,
            [slot["sum"] for slot in slots],
            count_step_(slots),
            lr=rate_for_kernel(rate, params[0]),
            lr_decay=options.lr_decay,
            weight_decay=options.weight_decay,
            eps=options.eps,
            maximize=options.maximize,
        )
        return True
