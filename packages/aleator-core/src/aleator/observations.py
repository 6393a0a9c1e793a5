"""Data at a site: what may stand for it, and the note that it must lie in the support."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.distributions import constraints

from aleator import validation
from aleator.distributions import Delta, MaskedDistribution, Unit

if TYPE_CHECKING:
    from aleator.sites import Site

__all__ = ["as_observation", "check_observed"]


def as_observation(value: Any, fn: Any = None) -> Any:  # noqa: ANN401  # data of any type; numbers become tensors
    """Return data as a site holds them: a number as a tensor.

    The tensor has torch's default dtype; an int stays one where the distribution is discrete.
    """
    if isinstance(value, (int, float)):
        keep = isinstance(value, int) and _is_discrete(fn)
        return torch.as_tensor(value, dtype=None if keep else torch.get_default_dtype())
    return value


def _is_discrete(fn: Any) -> bool:  # noqa: ANN401  # any distribution
    try:
        return bool(fn.support.is_discrete)
    except (AttributeError, NotImplementedError):
        return False


def check_observed(site: Site) -> None:
    """Note that an observed value must lie in the support of its distribution, where the mask says it counts."""
    fn, value, mask = site.fn, site.value, site.mask
    if not isinstance(value, Tensor) or mask is False or not hasattr(fn, "support"):
        return
    while isinstance(fn, MaskedDistribution):
        if fn._mask is False:
            return
        if isinstance(fn._mask, Tensor):
            mask = fn._mask if not isinstance(mask, Tensor) else mask & fn._mask
        fn = fn.base_dist
    if isinstance(fn, (Delta, Unit)):
        return
    support = fn.support
    if support is None or (mask is not None and support is constraints.real):
        return
    validation.check_support(site.name, support, value, mask if isinstance(mask, Tensor) else None)
