"""What log weights say: the evidence, its error, and how many draws the weighted ones are worth."""

from __future__ import annotations

import math
import warnings

import torch
from torch import Tensor

from aleator_importance.importance_warning import ImportanceWarning

__all__ = ["effective_sample_size", "log_normalizer", "log_normalizer_standard_error", "normalized_log_weights"]


def normalized_log_weights(log_weights: Tensor) -> Tensor:
    """Return log weights whose exponentials sum to one.

    Args:
        log_weights: shape ``(n,)``.

    Raises:
        ValueError: where no weight is positive.

    Example:
        >>> import torch
        >>> from aleator_importance import normalized_log_weights
        >>> normalized_log_weights(torch.tensor([1.0, 3.0]).log()).exp()
        tensor([0.2500, 0.7500])
    """
    total = torch.logsumexp(log_weights, 0) if len(log_weights) else log_weights.sum()
    if len(log_weights) and bool(torch.isneginf(total)):
        raise ValueError("every sample has weight zero: the guide never proposes what the model allows")
    return log_weights - total


def effective_sample_size(log_weights: Tensor) -> Tensor:
    """Return how many equally weighted draws the draws are worth: one over the sum of the squared weights, 1 to n.

    Zero, with a warning, where there are no draws or none has a positive weight. Source: Kong (1992).

    Args:
        log_weights: shape ``(n,)``.

    Example:
        >>> import torch
        >>> from aleator_importance import effective_sample_size
        >>> effective_sample_size(torch.zeros(4)), effective_sample_size(torch.tensor([0.0, -100.0]))
        (tensor(4.), tensor(1.))
    """
    if len(log_weights) == 0 or bool(torch.isneginf(log_weights).all()):
        what = "there are no draws" if len(log_weights) == 0 else "every draw has weight zero"
        warnings.warn(f"the effective sample size is zero: {what}", ImportanceWarning, stacklevel=2)
        return torch.zeros((), dtype=log_weights.dtype)
    wide = log_weights.double()
    size = (2 * torch.logsumexp(wide, 0) - torch.logsumexp(2 * wide, 0)).exp()
    return size.clamp(1.0, float(len(log_weights))).to(log_weights.dtype)


def log_normalizer(log_weights: Tensor, corrected: bool = False) -> Tensor:
    """Return an estimate of the log evidence: the log of the mean weight.

    The mean weight is unbiased for the evidence; its log lies low, by half the variance of the mean weight relative to
    the evidence squared, to first order in ``1 / n``.

    Args:
        log_weights: shape ``(n,)``.
        corrected: add the estimate of that bias, so that what remains is of second order.

    Example:
        >>> import torch
        >>> from aleator_importance import log_normalizer
        >>> log_normalizer(torch.tensor([1.0, 3.0]).log()).exp().round(decimals=4)
        tensor(2.)
    """
    if len(log_weights) == 0:
        warnings.warn("the log evidence is unknown: there are no draws", ImportanceWarning, stacklevel=2)
        return torch.full((), -math.inf, dtype=log_weights.dtype)
    estimate = torch.logsumexp(log_weights, 0) - math.log(len(log_weights))
    return estimate + 0.5 * log_normalizer_standard_error(log_weights).square() if corrected else estimate


def log_normalizer_standard_error(log_weights: Tensor) -> Tensor:
    """Return the standard error of :func:`log_normalizer`, by the delta method.

    The sample's standard deviation of the weights over their mean, over the root of ``n``. It is itself estimated from
    the draws: where the largest weights were never drawn, it is too small, which k-hat tells.

    Args:
        log_weights: shape ``(n,)``; infinite for fewer than two draws.

    Example:
        >>> import torch
        >>> from aleator_importance import log_normalizer_standard_error
        >>> log_normalizer_standard_error(torch.tensor([1.0, 3.0]).log())
        tensor(0.5000)
    """
    count = len(log_weights)
    if count < 2 or bool(torch.isneginf(log_weights).all()):
        return torch.full((), math.inf, dtype=log_weights.dtype)
    wide = log_weights.double()
    relative = (wide - (torch.logsumexp(wide, 0) - math.log(count))).exp()
    return (relative.var() / count).sqrt().to(log_weights.dtype)
