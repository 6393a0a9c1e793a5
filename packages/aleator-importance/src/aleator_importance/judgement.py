"""Say in words when weighted draws do not stand for the posterior."""

from __future__ import annotations

import warnings

import torch
from torch import Tensor

from aleator_importance.importance_warning import ImportanceWarning
from aleator_importance.pareto_smoothing import pareto_shape, pareto_threshold
from aleator_importance.weights import effective_sample_size

__all__ = ["warn_of_bad_weights"]


def warn_of_bad_weights(log_weights: Tensor) -> None:
    """Warn where all weights are zero, or where k-hat is over the threshold for that number of draws.

    Few draws, whose tail cannot be fitted, are passed over in silence.

    Args:
        log_weights: shape ``(n,)``.
    """
    count = len(log_weights)
    if count == 0:
        return
    if bool(torch.isneginf(log_weights).all()):
        warnings.warn(
            f"every one of the {count} draws has weight zero: the guide never proposes what the model allows",
            ImportanceWarning,
            stacklevel=3,
        )
        return
    shape = pareto_shape(log_weights)
    if shape is not None and shape.item() > pareto_threshold(count):
        warnings.warn(_verdict(shape.item(), log_weights), ImportanceWarning, stacklevel=3)


def _verdict(shape: float, log_weights: Tensor) -> str:
    count, size = len(log_weights), effective_sample_size(log_weights).item()
    advice = "more draws will not help: fit a wider or better guide"
    if shape < 0.7:
        # where the threshold 1 - 1 / log10(n) reaches k-hat
        advice = f"about {10.0 ** (1.0 / (1.0 - shape)):,.0f} draws would do"
    return (
        f"the weights are unreliable: k-hat is {shape:.2f}, above {pareto_threshold(count):.2f}, which {count:,} draws "
        f"allow; a few draws carry the estimate (effective sample size {size:,.1f}), so that evidence and averages may "
        f"be far off, and their standard errors too small; {advice}"
    )
