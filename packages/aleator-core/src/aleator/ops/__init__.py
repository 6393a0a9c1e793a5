"""Numerical functions that users of estimators reach for."""

from __future__ import annotations

from aleator.ops.log_sum_exp import logsumexp
from aleator.ops.vindex import Vindex, vindex

__all__ = ["Vindex", "logsumexp", "vindex"]
