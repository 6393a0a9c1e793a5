"""Log-probabilities written out, without the library: the truth must not come from what is tested."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

__all__ = ["log_bernoulli", "log_normal", "reduce_particles"]


def log_bernoulli(value: Tensor, logits: Tensor) -> Tensor:
    """Return log Bernoulli(value; logits)."""
    return value * logsigmoid(logits) + (1.0 - value) * logsigmoid(-logits)


def log_normal(value: Tensor, loc: Tensor | float, scale: Tensor | float) -> Tensor:
    """Return log Normal(value; loc, scale)."""
    scale = torch.as_tensor(scale, dtype=torch.float64)
    return -0.5 * ((value - loc) / scale) ** 2 - scale.log() - 0.5 * math.log(2.0 * math.pi)


def reduce_particles(log_weight: Tensor, bound: str, alpha: float = 0.0) -> Tensor:
    """Fold the log weights of K particles on dim 0 into the value of a bound.

    ``elbo`` is the mean; ``iwae`` is ``log mean exp`` (Burda et al. 2016, eq. 8); ``renyi`` is
    ``log mean exp((1 - alpha) w) / (1 - alpha)`` (Li and Turner 2016, eq. 11).
    """
    if bound == "elbo":
        return log_weight.mean(0)
    power = 1.0 - alpha if bound == "renyi" else 1.0
    return (torch.logsumexp(power * log_weight, 0) - math.log(len(log_weight))) / power
