"""Numbers that must agree, noted to be looked at with the other checks of a step: no host read of their own."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor
from torch.distributions import constraints

from aleator.validation import PENDING, check_arguments, is_enabled

__all__ = ["are_noted", "note_difference"]


@final
class _Zero(constraints.Constraint):
    """Holds where a difference is rounding; what is no number at all, other checks name."""

    def __init__(self, reason: str) -> None:
        self._reason = reason

    def check(self, value: Tensor) -> Tensor:
        """Say where the difference is small."""
        return (value.abs() <= 1e-3) | value.isnan()

    def __repr__(self) -> str:
        return f"zero ({self._reason})"


def are_noted() -> bool:
    """Tell whether notes are kept in this run: not in a captured step, nor where validation is off."""
    pending = PENDING.get()
    return pending is not None and pending.keep and is_enabled()


def note_difference(fn: Any, label: str, first: Tensor, second: Tensor, reason: str) -> None:  # noqa: ANN401  # a distribution
    """Note that two numbers of a site agree, relative to their size.

    Args:
        fn: the site's distribution, by which an error finds the site.
        label: what the difference is.
        first, second: tensors that broadcast with each other.
        reason: what it means when they do not agree, and what to do.
    """
    if not are_noted():
        return
    with torch.no_grad():
        if first.dtype is torch.bool or second.dtype is torch.bool:
            first, second = first.float(), second.float()
        difference = (first - second) / second.abs().clamp(min=1.0)
    # Sites are found by the object that the program made, before plates widened it.
    check_arguments(getattr(fn, "origin", fn), ((label, _Zero(reason), difference),))
