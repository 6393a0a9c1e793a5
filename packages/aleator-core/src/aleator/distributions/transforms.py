"""Torch's transforms under their own names."""

from __future__ import annotations

from torch.distributions.transforms import *  # noqa: F403  # one vocabulary: torch's names are ours
from torch.distributions.transforms import __all__ as __all__
