"""How much memory an exact sum may take: as much as the device has."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import lru_cache

import torch

from aleator_enum_discrete.named_factors import NamedFactor

__all__ = ["memory_budget", "memory_of"]


def memory_budget(factors: Sequence[NamedFactor]) -> int | None:
    """Return the bytes of memory of the device that factors are on; ``None`` where it does not say."""
    return memory_of(factors[0].factor.log_prob.device) if factors else None


@lru_cache(maxsize=16)
def memory_of(device: torch.device) -> int | None:
    """Return the bytes of memory of a device; ``None`` where it does not say."""
    if device.type == "cuda":
        return int(torch.cuda.get_device_properties(device).total_memory)
    if device.type == "cpu":
        try:
            return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        except (AttributeError, ValueError, OSError):
            return None
    return None
