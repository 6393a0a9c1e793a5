"""Importance sampling: weighted draws, evidence, smoothed weights and resampling.

Names are imported when they are first used, so that reading this plugin's manifest stays cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aleator.plugins import lazy_exports

if TYPE_CHECKING:
    from aleator_importance.importance import Importance
    from aleator_importance.importance_warning import ImportanceWarning
    from aleator_importance.pareto_smoothing import SmoothedWeights, pareto_threshold, smooth_log_weights
    from aleator_importance.resampling import multinomial, resample, residual, stratified, systematic
    from aleator_importance.weights import (
        effective_sample_size,
        log_normalizer,
        log_normalizer_standard_error,
        normalized_log_weights,
    )

__all__ = [
    "Importance",
    "ImportanceWarning",
    "SmoothedWeights",
    "effective_sample_size",
    "log_normalizer",
    "log_normalizer_standard_error",
    "multinomial",
    "normalized_log_weights",
    "pareto_threshold",
    "resample",
    "residual",
    "smooth_log_weights",
    "stratified",
    "systematic",
]

_HOMES = {
    "Importance": "importance",
    "ImportanceWarning": "importance_warning",
    "SmoothedWeights": "pareto_smoothing",
    "effective_sample_size": "weights",
    "log_normalizer": "weights",
    "log_normalizer_standard_error": "weights",
    "multinomial": "resampling",
    "normalized_log_weights": "weights",
    "pareto_threshold": "pareto_smoothing",
    "resample": "resampling",
    "residual": "resampling",
    "smooth_log_weights": "pareto_smoothing",
    "stratified": "resampling",
    "systematic": "resampling",
}

__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
