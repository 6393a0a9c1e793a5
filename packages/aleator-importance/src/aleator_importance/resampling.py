"""Equally weighted draws from weighted ones: four schemes, all unbiased, that differ in how much chance they add."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aleator import randomness
from aleator_importance.weights import normalized_log_weights
from aleator_posterior import Draws

if TYPE_CHECKING:
    from aleator_posterior import TracePosterior

__all__ = ["SCHEMES", "multinomial", "resample", "residual", "stratified", "systematic"]


def multinomial(log_weights: Tensor, num_samples: int | None = None) -> Tensor:
    """Return places drawn independently by weight.

    Args:
        log_weights: shape ``(n,)``, not normalized.
        num_samples: how many places; ``n`` by default.

    Returns:
        Places in ``[0, n)``, ascending, on the CPU.

    Raises:
        ValueError: no weight is positive, or ``num_samples`` is negative.

    Example:
        >>> import torch
        >>> from aleator_importance import multinomial
        >>> multinomial(torch.tensor([0.0, -torch.inf]), 3)
        tensor([0, 0, 0])
    """
    weights, count = _checked(log_weights, num_samples)
    return _at(weights, torch.sort(_uniform(count)).values)


def stratified(log_weights: Tensor, num_samples: int | None = None) -> Tensor:
    """Return places drawn one from each of ``num_samples`` equal slices of the weights; see :func:`multinomial`.

    Source: Kitagawa (1996).
    """
    weights, count = _checked(log_weights, num_samples)
    return _at(weights, (torch.arange(count, dtype=torch.float64) + _uniform(count)) / max(count, 1))


def systematic(log_weights: Tensor, num_samples: int | None = None) -> Tensor:
    """Return places at equal distances along the weights, with one random offset; see :func:`multinomial`.

    A draw of weight ``w`` is taken ``floor(n w)`` or ``ceil(n w)`` times. Source: Carpenter et al.
    (1999).
    """
    weights, count = _checked(log_weights, num_samples)
    return _at(weights, (torch.arange(count, dtype=torch.float64) + _uniform(1)) / max(count, 1))


def residual(log_weights: Tensor, num_samples: int | None = None) -> Tensor:
    """Return each place ``floor(n w)`` times, and the rest drawn by what is left of the weights.

    See :func:`multinomial`. Source: Liu and Chen (1998).
    """
    weights, count = _checked(log_weights, num_samples)
    expected = weights * count
    # Without the slack a weight of exactly 1/n would lose its copy to rounding.
    copies = (expected + 1e-9).floor()
    rest = (expected - copies).clamp(min=0.0)
    missing = count - int(copies.sum().item())
    kept = torch.repeat_interleave(torch.arange(len(weights)), copies.long())
    if missing <= 0:
        return kept[:count]
    return torch.sort(torch.cat([kept, _at(rest, torch.sort(_uniform(missing)).values * rest.sum())])).values


SCHEMES: Mapping[str, Callable[[Tensor, int | None], Tensor]] = MappingProxyType(
    {"multinomial": multinomial, "stratified": stratified, "systematic": systematic, "residual": residual}
)


def resample(
    posterior: TracePosterior | Draws,
    num_samples: int | None = None,
    scheme: str = "systematic",
    *,
    smooth: bool = False,
) -> Draws:
    """Return equally weighted draws, picked by weight from weighted ones: copies, none of them tied to the stored ones.

    Args:
        posterior: an algorithm that has run, or its ``Draws``.
        num_samples: how many; as many as there are by default.
        scheme: ``"multinomial"``, ``"stratified"``, ``"systematic"`` or ``"residual"``.
        smooth: pick by the Pareto smoothed weights.

    Raises:
        ValueError: an unknown scheme, or no draw has a positive weight.

    Example:
        >>> import torch
        >>> from aleator_importance import resample
        >>> from aleator_posterior import Draws
        >>> draws = Draws({"z": torch.tensor([1.0, 2.0])}, torch.tensor([0.25, 0.75]).log())
        >>> resample(draws, 4, "residual").values["z"]
        tensor([1., 2., 2., 2.])
    """
    from aleator_importance.pareto_smoothing import smooth_log_weights

    if scheme not in SCHEMES:
        raise ValueError(f"resample: no scheme is called {scheme!r}; there are {', '.join(SCHEMES)}")
    draws = posterior if isinstance(posterior, Draws) else posterior.draws
    log_weights = smooth_log_weights(draws.log_weights).log_weights if smooth else draws.log_weights
    chosen = draws[SCHEMES[scheme](log_weights, num_samples)]
    weights = torch.zeros_like(chosen.log_weights)
    return Draws.of_columns(chosen.values, chosen.log_likelihoods, chosen.subsamples, weights, chosen.chain_ids)


def _checked(log_weights: Tensor, num_samples: int | None) -> tuple[Tensor, int]:
    count = len(log_weights) if num_samples is None else num_samples
    if count < 0:
        raise ValueError(f"resampling: num_samples must not be negative, but is {count}")
    if log_weights.dim() != 1 or bool(torch.isnan(log_weights).any()):
        raise ValueError(f"resampling: log weights must be a vector without NaN, but have shape {log_weights.shape}")
    if len(log_weights) == 0 and count:
        raise ValueError("resampling: there are no draws to pick from")
    return normalized_log_weights(log_weights.detach().to("cpu", torch.float64)).exp(), count


def _uniform(count: int) -> Tensor:
    return randomness.uniform((count,), dtype=torch.float64)


def _at(weights: Tensor, points: Tensor) -> Tensor:
    """Return the place of each point along the weights laid end to end; a place of weight zero is never hit."""
    edges = weights.cumsum(0)
    points = points.clamp(max=math.nextafter(edges[-1].item(), 0.0)) if len(edges) else points
    return torch.searchsorted(edges, points, right=True)
