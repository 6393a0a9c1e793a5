"""Adam and AdamW."""

from __future__ import annotations

import math
from abc import ABC
from dataclasses import dataclass
from typing import ClassVar, final

import torch
from torch import Tensor

from aleator.optim.kernels import count_step_, rate_for_kernel
from aleator.optim.options import Options, check_betas, check_not_negative, check_rate
from aleator.optim.pure_optimizer import PureOptimizer, Slots

__all__ = ["Adam", "AdamOptions", "AdamW", "AdamWOptions", "bias_correction", "update_moments"]


def bias_correction(beta: float, counts: Tensor) -> Tensor:
    """Return ``1 - beta ** counts`` without the cancellation that single precision would suffer."""
    return torch.ones_like(counts) if beta == 0 else -torch.expm1(counts * math.log(beta))


def update_moments(slots: Slots, grad: Tensor, second: Tensor, betas: tuple[float, float]) -> tuple[Tensor, Tensor]:
    """Return the running means of ``grad`` and of ``second`` squared."""
    exp_avg = torch.lerp(slots["exp_avg"], grad, 1 - betas[0])
    exp_avg_sq = torch.addcmul(slots["exp_avg_sq"] * betas[1], second, second, value=1 - betas[1])
    return exp_avg, exp_avg_sq


@final
@dataclass(frozen=True, kw_only=True)
class AdamOptions(Options):
    """Options of `Adam`.

    Attributes:
        lr: learning rate.
        betas: decay of the running means of the gradient and of its square.
        eps: added to the denominator.
        weight_decay: L2 penalty; with ``decoupled_weight_decay``, decay of the parameter itself.
        amsgrad: divide by the largest second moment so far.
        maximize: climb instead of descending.
        decoupled_weight_decay: decay as `AdamW` does.
    """

    lr: float | Tensor = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    amsgrad: bool = False
    maximize: bool = False
    decoupled_weight_decay: bool = False

    def check(self) -> None:
        """Raise for a negative rate, epsilon or decay, or a beta outside [0, 1)."""
        check_rate(self.lr)
        object.__setattr__(self, "betas", check_betas(self.betas))
        check_not_negative(eps=self.eps, weight_decay=self.weight_decay)


@final
@dataclass(frozen=True, kw_only=True)
class AdamWOptions(Options):
    """Options of `AdamW`: those of `Adam`, with a weight decay of 0.01 that acts on the parameter itself."""

    lr: float | Tensor = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 1e-2
    amsgrad: bool = False
    maximize: bool = False
    decoupled_weight_decay: ClassVar[bool] = True

    def check(self) -> None:
        """Raise for a negative rate, epsilon or decay, or a beta outside [0, 1)."""
        check_rate(self.lr)
        object.__setattr__(self, "betas", check_betas(self.betas))
        check_not_negative(eps=self.eps, weight_decay=self.weight_decay)


_Options = AdamOptions | AdamWOptions


class _AdamRule(PureOptimizer[_Options], ABC):
    """The rule that `Adam` and `AdamW` share."""

    def initial_slots(self, param: Tensor, options: _Options) -> Slots:
        """Return the running means, at zero."""
        slots = {"exp_avg": torch.zeros_like(param), "exp_avg_sq": torch.zeros_like(param)}
        if options.amsgrad:
            slots["max_exp_avg_sq"] = torch.zeros_like(param)
        return slots

    def factors(self, counts: Tensor, rates: Tensor, options: _Options) -> tuple[Tensor, ...]:
        """Return the step size and the scale of the second moment, both corrected for bias, and the rate."""
        step_sizes = rates / bias_correction(options.betas[0], counts)
        return step_sizes, bias_correction(options.betas[1], counts).rsqrt(), rates

    def rule(
        self, param: Tensor, grad: Tensor, slots: Slots, factors: tuple[Tensor, ...], options: _Options
    ) -> tuple[Tensor, Slots]:
        """Return the parameter and its slots after one step."""
        step_size, scale, rate = factors
        if options.maximize:
            grad = -grad
        if options.weight_decay != 0:
            if options.decoupled_weight_decay:
                param = param * (1 - rate * options.weight_decay)
            else:
                grad = torch.add(grad, param, alpha=options.weight_decay)
        exp_avg, exp_avg_sq = update_moments(slots, grad, grad, options.betas)
        kept = {"exp_avg": exp_avg, "exp_avg_sq": exp_avg_sq}
        if options.amsgrad:
            kept["max_exp_avg_sq"] = exp_avg_sq = torch.maximum(slots["max_exp_avg_sq"], exp_avg_sq)
        denominator = exp_avg_sq.sqrt() * scale + options.eps
        return param - step_size * (exp_avg / denominator), kept

    def fused_(
        self,
        params: list[Tensor],
        grads: list[Tensor],
        slots: list[Slots],
        rate: Tensor,
        options: _Options,
    ) -> bool:
        """Take the step by torch's fused Adam."""
        kernel = torch._fused_adamw_ if options.decoupled_weight_decay else torch._fused_adam_
        kernel(
            params,
            grads,
            [slot["exp_avg"] for slot in slots],
            [slot["exp_avg_sq"] for slot in slots],
            [slot["max_exp_avg_sq"] for slot in slots] if options.amsgrad else [],
            count_step_(slots),
            lr=rate_for_kernel(rate, params[0]),
            beta1=options.betas[0],
            beta2=options.betas[1],
            weight_decay=options.weight_decay,
            eps=options.eps,
            amsgrad=options.amsgrad,
            maximize=options.maximize,
        )
        return True


@final
@dataclass(frozen=True, init=False)
class Adam(_AdamRule):
    """Adam: steps scaled by running means of the gradient and of its square.

    Options: see `AdamOptions`. Source: Kingma and Ba, 2015, https://arxiv.org/abs/1412.6980, algorithm 1.

    Example:
        >>> import torch
        >>> from aleator import optim
        >>> adam = optim.Adam(lambda name: {"lr": 0.1 if name == "scale" else 0.01})
        >>> params = {"loc": torch.zeros(2), "scale": torch.zeros(2)}
        >>> grads = {name: torch.ones(2) for name in params}
        >>> params, state = adam.update(grads, adam.init(params), params)
        >>> params
        {'loc': tensor([-0.0100, -0.0100]), 'scale': tensor([-0.1000, -0.1000])}
    """

    options_type = AdamOptions


@final
@dataclass(frozen=True, init=False)
class AdamW(_AdamRule):
    """Adam with weight decay on the parameter itself, not through the gradient.

    Options: see `AdamWOptions`. Source: Loshchilov and Hutter, 2019, https://arxiv.org/abs/1711.05101, algorithm 2.

    Example:
        >>> import torch
        >>> from aleator import optim
        >>> adamw = optim.AdamW(lr=0.1, weight_decay=0.5)
        >>> params = {"a": torch.tensor(2.0)}
        >>> params, state = adamw.update({"a": torch.tensor(0.0)}, adamw.init(params), params)
        >>> params["a"]
        tensor(1.9000)
    """

    options_type = AdamWOptions
