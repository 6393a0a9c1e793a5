"""Adam with clipped gradients and a decaying learning rate, as Pyro has it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from aleator.optim.adam import bias_correction, update_moments
from aleator.optim.kernels import count_step_
from aleator.optim.options import Options, check_betas, check_not_negative, check_rate
from aleator.optim.pure_optimizer import PureOptimizer, Slots

__all__ = ["ClippedAdam", "ClippedAdamOptions"]


@final
@dataclass(frozen=True, kw_only=True)
class ClippedAdamOptions(Options):
    """Options of `ClippedAdam`.

    Attributes:
        lr: learning rate before its decay.
        betas: decay of the running means of the gradient and of its square.
        eps: added to the root of the second moment, before bias correction (`Adam` adds it after).
        weight_decay: L2 penalty, added after clipping.
        clip_norm: each element of the gradient is clamped to ``[-clip_norm, clip_norm]``; the name is Pyro's.
        lrd: the learning rate is multiplied by it before every step of the parameter, the first included.
        centered_variance: the second moment is that of the gradient minus its running mean.
    """

    lr: float | Tensor = 1e-3
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8
    weight_decay: float = 0.0
    clip_norm: float = 10.0
    lrd: float = 1.0
    centered_variance: bool = False

    def check(self) -> None:
        """Raise for a negative number, a decay of 0, or a beta outside [0, 1)."""
        check_rate(self.lr)
        object.__setattr__(self, "betas", check_betas(self.betas))
        check_not_negative(eps=self.eps, weight_decay=self.weight_decay, lrd=self.lrd)
        if not self.clip_norm >= 0:
            raise ValueError(f"clip_norm must be at least 0, found {self.clip_norm!r}")
        if self.lrd == 0:
            raise ValueError("lrd must be positive, found 0; lr=0 keeps parameters where they are")


@final
@dataclass(frozen=True, init=False)
class ClippedAdam(PureOptimizer[ClippedAdamOptions]):
    """Adam whose gradients are clamped element by element and whose learning rate decays at every step.

    A parameter's decay counts its own steps, so one that joins late starts from the full learning rate.
    Options: see `ClippedAdamOptions`.

    Example:
        >>> import torch
        >>> from aleator import optim
        >>> clipped = optim.ClippedAdam({"lr": 0.1, "lrd": 0.5})
        >>> params = {"a": torch.tensor(0.0)}
        >>> params, state = clipped.update({"a": torch.tensor(-1e6)}, clipped.init(params), params)
        >>> params["a"]
        tensor(0.0500)
    """

    options_type = ClippedAdamOptions

    def initial_slots(self, param: Tensor, options: ClippedAdamOptions) -> Slots:
        """Return the running means, at zero."""
        return {"exp_avg": torch.zeros_like(param), "exp_avg_sq": torch.zeros_like(param)}

    def factors(self, counts: Tensor, rates: Tensor, options: ClippedAdamOptions) -> tuple[Tensor, ...]:
        """Return the step size: the decayed rate, corrected for the bias of both moments."""
        if options.lrd != 1:
            rates = rates * torch.exp(counts * math.log(options.lrd))
        scales = bias_correction(options.betas[1], counts).sqrt()
        return (rates * scales / bias_correction(options.betas[0], counts),)

    def rule(
        self, param: Tensor, grad: Tensor, slots: Slots, factors: tuple[Tensor, ...], options: ClippedAdamOptions
    ) -> tuple[Tensor, Slots]:
        """Return the parameter and its slots after one step."""
        (step_size,) = factors
        grad = torch.clamp(grad, -options.clip_norm, options.clip_norm)
        if options.weight_decay != 0:
            grad = torch.add(grad, param, alpha=options.weight_decay)
        second = grad
        if options.centered_variance:
            second = grad - torch.lerp(slots["exp_avg"], grad, 1 - options.betas[0])
        exp_avg, exp_avg_sq = update_moments(slots, grad, second, options.betas)
        param = param - step_size * (exp_avg / (exp_avg_sq.sqrt() + options.eps))
        return param, {"exp_avg": exp_avg, "exp_avg_sq": exp_avg_sq}

    def fused_(
        self,
        params: list[Tensor],
        grads: list[Tensor],
        slots: list[Slots],
        rate: Tensor,
        options: ClippedAdamOptions,
    ) -> bool:
        """Take the step by torch's fused Adam, on the CPU and as far as that is the same algorithm.

        The kernel adds epsilon after bias correction, and takes one rate for all parameters. So it runs as at a step
        so late that there is no bias left, at rate 1, on zeros, and what it makes of them is scaled and added.
        """
        exact = params[0].dtype in (torch.float32, torch.float64)
        if options.centered_variance or not (exact and params[0].is_cpu and rate.is_cpu):
            return False
        grads = _clamped(grads, options.clip_norm)
        if options.weight_decay != 0:
            grads = list(torch._foreach_add(grads, params, alpha=options.weight_decay))
        directions = [torch.zeros_like(param) for param in params]
        torch._fused_adam_(
            directions,
            grads,
            [slot["exp_avg"] for slot in slots],
            [slot["exp_avg_sq"] for slot in slots],
            [],
            [torch.full((), math.inf)] * len(params),
            lr=1.0,
            beta1=options.betas[0],
            beta2=options.betas[1],
            weight_decay=0.0,
            eps=options.eps,
            amsgrad=False,
            maximize=False,
        )
        # These numbers live on the host, where arithmetic on them is cheaper than tensor operations.
        *counts, base = torch.stack([*count_step_(slots), rate]).tolist()
        torch._foreach_mul_(directions, [_step_size(count, base, options) for count in counts])
        torch._foreach_add_(params, directions)
        return True


def _clamped(grads: list[Tensor], bound: float) -> list[Tensor]:
    """Return the gradients with each element in ``[-bound, bound]``."""
    bounds = [bound] * len(grads)  # as a list: one number would be wrapped once per tensor
    return list(torch._foreach_clamp_min(torch._foreach_clamp_max(grads, bounds), [-bound] * len(grads)))


def _step_size(count: float, rate: float, options: ClippedAdamOptions) -> float:
    """Return what `ClippedAdam.factors` does, for one parameter."""
    scale = math.sqrt(1 - math.pow(options.betas[1], count))
    return rate * math.pow(options.lrd, count) * scale / (1 - math.pow(options.betas[0], count))
