"""The bounds themselves: pure functions of log weights whose dim 0 is the particles."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from aleator.ops import logsumexp
from aleator_renyi.log_sum_exp import log_sum_exp

__all__ = ["bound", "leave_one_out", "normalized_weights"]

# Nearer to 1 than this, log-mean-exp over 1 - alpha would lose its digits to cancellation.
_NEAR_ONE = 1e-2


def bound(log_weight: Tensor, alpha: float) -> Tensor:
    """Return the Renyi bound of the particles: log mean w**(1 - alpha) / (1 - alpha).

    Args:
        log_weight: log p - log q, particles on dim 0; any further dims are kept.
        alpha: the order, not 1; 0 is the importance weighted bound, ``-inf`` the largest weight, ``inf`` the smallest.

    Source:
        Y. Li, R. Turner, "Renyi Divergence Variational Inference" (2016), eq. 14.

    Example:
        >>> import math, torch
        >>> log_weight = torch.tensor([0.25, 0.75]).log()
        >>> bound(log_weight, 0.0).exp(), bound(log_weight, -math.inf).exp()
        (tensor(0.5000), tensor(0.7500))
    """
    if math.isinf(alpha):
        return log_weight.amax(0) if alpha < 0.0 else log_weight.amin(0)
    order = 1.0 - alpha
    count = log_weight.shape[0]
    if order == 1.0:
        return log_sum_exp(log_weight) - math.log(count)
    if abs(order) >= _NEAR_ONE:
        return (logsumexp(order * log_weight, 0) - math.log(count)) / order
    center = log_weight.detach().mean(0)
    center = torch.where(center.isfinite(), center, torch.zeros_like(center))
    return center + (order * (log_weight - center)).expm1().mean(0).log1p() / order


def normalized_weights(log_weight: Tensor, alpha: float) -> Tensor:
    """Return each particle's share in the bound's gradient: w**(1 - alpha), normalized over dim 0 and detached."""
    detached = log_weight.detach()
    if not math.isinf(alpha):
        return torch.softmax((1.0 - alpha) * detached, 0)
    extreme = detached.amax(0) if alpha < 0.0 else detached.amin(0)
    chosen = (detached == extreme).to(detached.dtype)
    return chosen / chosen.sum(0)


def leave_one_out(log_weight: Tensor, alpha: float) -> Tensor:
    """Return for each particle the bound with its own weight replaced by what the others say of it; detached.

    The replacement is the geometric mean of the others' weights, so the result does not depend on the particle's own
    draw and may be subtracted from what its score is multiplied by. With one particle there are no others: 0.

    Args:
        log_weight: particles on dim 0.
        alpha: the order.

    Source:
        A. Mnih, D. Rezende, "Variational Inference for Monte Carlo Objectives" (2016), eq. 7 and 10.
    """
    detached = log_weight.detach()
    count = detached.shape[0]
    if count == 1:
        return torch.zeros_like(detached)
    own = torch.eye(count, dtype=torch.bool, device=detached.device)
    own = own.reshape(count, count, *(1,) * (detached.dim() - 1))
    # Dim 0 is the particle that is left out, dim 1 the particles: a mean without it needs no difference of infinities.
    others = torch.where(own, torch.zeros_like(detached), detached)
    replaced = torch.where(own, others.sum(1, keepdim=True) / (count - 1), detached)
    return bound(replaced.transpose(0, 1), alpha)
