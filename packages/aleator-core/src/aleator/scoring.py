"""The log-probability of one site under its mask: pure functions of the site, nothing kept in it."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from math import prod
from typing import Any, NamedTuple, final

import torch
from torch import Tensor
from torch.distributions import constraints

from aleator.distributions import transform_to
from aleator.distributions.arguments import broadcast_shapes
from aleator.sites import Site
from aleator.stash import StashKey

__all__ = [
    "DETERMINISTIC",
    "KNOWN_LOG_PROB",
    "KnownLogProb",
    "is_deterministic",
    "known_log_prob",
    "plate_scale",
    "repeated_over",
    "score_site",
]

DETERMINISTIC: StashKey[bool] = StashKey("deterministic")


@final
class KnownLogProb(NamedTuple):
    """A quicker way from a distribution to the log-probability of one value.

    Attributes:
        value: the value; the way is taken while the site has this very tensor.
        of: from the distribution, and how many batch dims it has on the left of the site's own, to the result.
        kind: equal for sites whose ``of`` is the same, and whose values are.
        lacks_plates: whether the result may lack dims of plates, whoever reads it knowing that it repeats along them;
            else it is expanded, as others are.
    """

    value: Tensor
    of: Callable[[Any, int], Tensor]
    kind: Hashable
    lacks_plates: bool = False


KNOWN_LOG_PROB: StashKey[KnownLogProb] = StashKey("known_log_prob")
"""On a site: a quicker way to score it."""


def is_deterministic(site: Site) -> bool:
    """Whether the site only records a value, by ``deterministic``."""
    return site._stash is not None and DETERMINISTIC in site._stash


def known_log_prob(site: Site) -> KnownLogProb | None:
    """Return the quicker way to score a site, where there is one for the value that it has."""
    known = None if site._stash is None else site._stash.get(KNOWN_LOG_PROB)
    return known if known is not None and known.value is site.value else None


def plate_scale(site: Site) -> float:
    """The product of ``full_size / size`` over the plates around the site."""
    return prod(frame.full_size / frame.size for frame in site.frames if frame.size != frame.full_size and frame.size)


def score_site(site: Site) -> tuple[Tensor, Tensor]:
    """Return the log-probability of a sample site unmasked, and masked; both over its batch shape, neither scaled.

    A masked element contributes exactly zero, and no gradient: an observed value under a mask is replaced by one in
    the support before it is scored, so that missing data may be NaN. Under ``mask=False`` nothing is scored.

    Raises:
        ValueError: naming the site, where the distribution cannot score the value.
    """
    mask = site.mask
    if mask is False or is_deterministic(site):
        nothing = _zeros(site)
        return nothing, nothing
    if not hasattr(site.fn, "log_prob"):
        raise ValueError(
            f"site {site.name!r}: {type(site.fn).__name__} has no log_prob, so that the site cannot be scored; "
            f"sample from a distribution, or record the value by aleator.deterministic"
        )
    value = site.value
    if isinstance(mask, Tensor) and site.is_observed and isinstance(value, Tensor) and value.numel():
        value = _fill_masked(site, value, mask)
    known = known_log_prob(site) if value is site.value else None
    try:
        log_prob = site.fn.log_prob(value) if known is None else known.of(site.fn, 0)
    except (ValueError, RuntimeError, IndexError) as error:
        shape = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
        raise ValueError(
            f"site {site.name!r}: {type(site.fn).__name__} with batch shape {tuple(site.fn.batch_shape)} and event "
            f"shape {tuple(site.fn.event_shape)} cannot score a value of shape {shape}: {error}"
        ) from error
    if known is None or not known.lacks_plates:
        log_prob = repeated_over(log_prob, site.fn.batch_shape)
    if isinstance(mask, Tensor):
        return log_prob, torch.where(mask, log_prob, torch.zeros((), dtype=log_prob.dtype, device=log_prob.device))
    return log_prob, log_prob


def repeated_over(log_prob: Tensor, batch_shape: torch.Size, outer: int = 0) -> Tensor:
    """Expand a log-probability over a batch: a value that lacks a dim of a plate counts once for each of its elements.

    Args:
        log_prob: of one site, or of several along ``outer`` dims on the left.
        batch_shape: of the site's distribution.
        outer: how many dims on the left belong to no site.
    """
    lead, shape = log_prob.shape[:outer], log_prob.shape[outer:]
    if shape == batch_shape or len(shape) > len(batch_shape):
        return log_prob
    if outer:
        log_prob = log_prob.reshape(*lead, *(1,) * (len(batch_shape) - len(shape)), *shape)
    return log_prob.expand(*lead, *broadcast_shapes(shape, batch_shape))


def _zeros(site: Site) -> Tensor:
    value = site.value
    if isinstance(value, Tensor):
        dtype = value.dtype if value.is_floating_point() else None
        return torch.zeros(site.fn.batch_shape, dtype=dtype, device=value.device)
    return torch.zeros(site.fn.batch_shape)


def _fill_masked(site: Site, value: Tensor, mask: Tensor) -> Tensor:
    event_dim = len(site.fn.event_shape)
    event_mask = mask.reshape(mask.shape + (1,) * event_dim)
    return torch.where(event_mask, value, feasible_value(site.fn.support, value))


def feasible_value(support: Any, like: Tensor) -> Tensor:  # noqa: ANN401  # any constraint, dependent ones too
    """Return some value inside a support: a constant, so that no gradient passes."""
    while isinstance(support, constraints.independent):
        support = support.base_constraint
    if support is constraints.boolean or support is constraints.nonnegative_integer:
        return torch.zeros((), dtype=like.dtype, device=like.device)
    if getattr(support, "is_discrete", False):
        lower = getattr(support, "lower_bound", None)
        if lower is not None:
            return torch.as_tensor(lower, dtype=like.dtype, device=like.device).detach()
        return torch.zeros((), dtype=like.dtype, device=like.device)
    if support is constraints.real or support is constraints.real_vector:
        return torch.zeros((), dtype=like.dtype, device=like.device)
    value: Tensor = transform_to(support)(torch.zeros_like(like))
    return value.detach()
