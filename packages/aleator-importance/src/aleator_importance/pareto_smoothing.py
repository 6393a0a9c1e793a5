"""Pareto smoothed importance sampling: the largest weights replaced by what a fitted tail expects."""

from __future__ import annotations

import math
import warnings
from typing import NamedTuple

import torch
from torch import Tensor

from aleator_importance.importance_warning import ImportanceWarning

__all__ = ["SmoothedWeights", "pareto_shape", "pareto_threshold", "smooth_log_weights", "tail_length"]


class SmoothedWeights(NamedTuple):
    """Smoothed weights, and what the fit says of them.

    Attributes:
        log_weights: normalized, shape ``(n,)``.
        pareto_k: k-hat, the shape of the fitted tail, without dims: the weights have about ``1 / k`` finite moments.
            Infinite where the tail has too few draws to tell; minus infinity where all large weights are equal.
    """

    log_weights: Tensor
    pareto_k: Tensor


def pareto_threshold(num_samples: int) -> float:
    """Return the k-hat above which that many samples do not suffice: ``min(1 - 1 / log10(n), 0.7)``.

    Source: Vehtari, Simpson, Gelman, Yao, Gabry (2024), "Pareto smoothed importance sampling", section 3.2.4.

    Example:
        >>> from aleator_importance import pareto_threshold
        >>> pareto_threshold(100), pareto_threshold(10_000)
        (0.5, 0.7)
    """
    return min(1.0 - 1.0 / math.log10(num_samples), 0.7) if num_samples > 1 else -math.inf


def tail_length(num_samples: int) -> int:
    """Return how many of the largest weights count as the tail: ``min(n / 5, 3 sqrt(n))``, rounded up."""
    return math.ceil(min(0.2 * num_samples, 3.0 * math.sqrt(num_samples)))


LEAST_TAIL = 10


def smooth_log_weights(log_weights: Tensor) -> SmoothedWeights:
    """Replace the largest weights by the quantiles of a generalized Pareto distribution fitted to them.

    Where the tail has fewer than ten draws, k-hat is infinite, the weights stay, and a warning says so.

    Args:
        log_weights: shape ``(n,)``, not normalized.

    Raises:
        ValueError: where they are no vector, hold NaN, or no weight is positive.

    Example:
        >>> import torch
        >>> from aleator_importance import smooth_log_weights
        >>> exponential = -torch.log1p(-torch.arange(0.5, 1000) / 1000)
        >>> smooth_log_weights(0.3 * exponential).pareto_k.round(decimals=1)
        tensor(0.3000)
    """
    weights = _checked(log_weights)
    count = len(weights)
    length = tail_length(count)
    weights = weights - weights.max()
    ordered, order = torch.sort(weights)
    tail = _tail(ordered, length)
    shape = torch.full((), -math.inf, dtype=torch.float64)
    if len(tail) >= LEAST_TAIL:
        cutoff = ordered[-len(tail) - 1].clamp(min=_LEAST_LOG).exp()
        shape, scale = _fit(tail.exp() - cutoff)
        if bool(torch.isfinite(shape)):
            ranks = torch.arange(0.5, len(tail), dtype=torch.float64) / len(tail)
            ordered = ordered.clone()
            ordered[-len(tail) :] = (_quantiles(ranks, shape, scale) + cutoff).log().clamp(max=0.0)
    elif len(tail):
        warnings.warn(
            f"the tail of {count} weights has {len(tail)} draws, too few to fit it: weights stay as they are, and "
            f"k-hat is unknown; draw more samples",
            ImportanceWarning,
            stacklevel=2,
        )
        shape = torch.full((), math.inf, dtype=torch.float64)
    smoothed = torch.empty_like(ordered)
    smoothed[order] = ordered
    smoothed = smoothed - torch.logsumexp(smoothed, 0)
    return SmoothedWeights(smoothed.to(log_weights), shape.to(log_weights))


_LEAST_LOG = math.log(torch.finfo(torch.float64).tiny)


def pareto_shape(log_weights: Tensor) -> Tensor | None:
    """Return k-hat alone, or ``None`` where the tail has too few draws to tell."""
    weights = _checked(log_weights)
    length = tail_length(len(weights))
    if length < LEAST_TAIL:
        return None
    top = torch.topk(weights, length + 1).values.flip(0)
    top = top - top[-1]
    tail = _tail(top, length)
    if len(tail) >= LEAST_TAIL:
        return _fit(tail.exp() - top[-len(tail) - 1].clamp(min=_LEAST_LOG).exp())[0]
    if len(tail) == 0:
        return torch.full((), -math.inf, dtype=torch.float64)
    # Weights that vanish beside the largest are the heaviest tail of all; ties tell nothing.
    return torch.full((), math.inf, dtype=torch.float64) if bool(top[0] < _LEAST_LOG) else None


def _checked(log_weights: Tensor) -> Tensor:
    if log_weights.dim() != 1 or len(log_weights) == 0:
        raise ValueError(f"log weights must be a vector of at least one, but have shape {tuple(log_weights.shape)}")
    weights = log_weights.detach().to("cpu", torch.float64)
    top = weights.max()
    if not bool(torch.isfinite(top)):
        raise ValueError(f"the largest log weight is {top.item()}; it must be finite")
    return weights


def _tail(ordered: Tensor, length: int) -> Tensor:
    """Return the sorted weights above the cutoff: the largest one that is not among the ``length`` largest."""
    if len(ordered) <= length:
        return ordered[:0]
    cutoff = ordered[-length - 1].clamp(min=_LEAST_LOG)
    return ordered[-length:][ordered[-length:] > cutoff]


def _fit(excesses: Tensor) -> tuple[Tensor, Tensor]:
    """Fit a generalized Pareto distribution to sorted, positive values, and return its shape and scale.

    The posterior mean over a grid of ``b = -k / sigma`` under a weak prior, then a shape drawn towards 1/2 by ten
    pseudo-observations. Source: Zhang and Stephens (2009); Vehtari et al. (2024), appendix C.
    """
    count = len(excesses)
    grid_size = 30 + int(math.sqrt(count))
    quartile = excesses[int(count / 4 + 0.5) - 1]
    steps = torch.arange(1, grid_size + 1, dtype=torch.float64)
    grid = (1.0 - (grid_size / (steps - 0.5)).sqrt()) / (3.0 * quartile) + 1.0 / excesses[-1]
    shapes = torch.log1p(-grid[:, None] * excesses).mean(1)
    likelihood = count * ((-grid / shapes).log() - shapes - 1.0)
    weights = torch.softmax(likelihood, 0)
    weights = torch.where(weights >= 10 * torch.finfo(torch.float64).eps, weights, torch.zeros_like(weights))
    best = (grid * (weights / weights.sum())).sum()
    shape = torch.log1p(-best * excesses).mean()
    scale = -shape / best
    drawn = (count * shape + 10 * 0.5) / (count + 10)
    return torch.where(drawn.isfinite(), drawn, math.inf), scale


def _quantiles(ranks: Tensor, shape: Tensor, scale: Tensor) -> Tensor:
    """Return quantiles of a generalized Pareto distribution at zero."""
    lower = torch.log1p(-ranks)
    unbent = -lower
    return scale * torch.where(shape.abs() < 1e-12, unbent, torch.expm1(-shape * lower) / shape)
