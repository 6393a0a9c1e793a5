"""Choose among weighted draws."""

from __future__ import annotations

import torch
from torch import Tensor

from aleator import randomness
from aleator_posterior.draws import Draws

__all__ = ["choose"]


def choose(draws: Draws, count: int, who: str) -> Tensor:
    """Return the places of ``count`` draws, drawn by weight with replacement.

    Raises:
        ValueError: naming who asks, where there are no draws, or no weight is positive.
    """
    if len(draws) == 0:
        raise ValueError(f"{who}: the posterior has no draws to choose from; its last run gave none")
    log_weights = draws.log_weights.to("cpu", torch.float64)
    top = log_weights.max()
    if not bool(torch.isfinite(top)):
        raise ValueError(f"{who}: no draw of the posterior has a positive, finite weight; use a better guide")
    # torch.multinomial takes at most 2**24 categories; the inverse of the cumulative weights takes any number.
    cumulative = (log_weights - top).exp().cumsum(0)
    uniforms = randomness.uniform((count,), dtype=torch.float64) * cumulative[-1]
    return torch.searchsorted(cumulative, uniforms, right=True).clamp_(max=len(draws) - 1)
