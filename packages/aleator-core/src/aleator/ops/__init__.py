"""Numerical functions that users of estimators reach for."""

from __future__ import annotations

from aleator.ops.log_sum_exp import logsumexp

__all__ = ["logsumexp"]
