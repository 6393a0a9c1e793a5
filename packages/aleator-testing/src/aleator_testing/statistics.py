"""Comparisons of averages with the truth, with stated rates of false alarms and of misses.

One comparison fails where ``|estimate - truth| > THRESHOLD`` standard errors. By the normal law a correct estimator
fails one comparison with probability ``FALSE_FAIL``; since checks fix their seed, it fails always or never. An
estimator whose bias is ``DETECTABLE`` standard errors passes one comparison with probability ``FALSE_PASS``. A mutant
whose bias is smaller than that at these sample sizes is expected of the exact checks only, not of these.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from aleator_testing.check import CheckFailure

__all__ = [
    "DETECTABLE",
    "FALSE_FAIL",
    "FALSE_PASS",
    "THRESHOLD",
    "Comparison",
    "compare",
    "require_close",
    "require_mean",
]

THRESHOLD = 4.5
DETECTABLE = 8.0
FALSE_FAIL = math.erfc(THRESHOLD / math.sqrt(2.0))
FALSE_PASS = 0.5 * math.erfc((DETECTABLE - THRESHOLD) / math.sqrt(2.0))


@final
@dataclass(frozen=True)
class Comparison:
    """An average beside the truth.

    Attributes:
        estimate: the average over the sample, flat.
        truth: what it should be, of the same shape.
        standard_error: of the average.
        count: the size of the sample.
    """

    estimate: Tensor
    truth: Tensor
    standard_error: Tensor
    count: int

    @property
    def z(self) -> Tensor:
        """The differences in standard errors; 0 where both the difference and the error vanish."""
        difference = self.estimate - self.truth
        floor = 1e-12 * (1.0 + self.truth.abs())
        return torch.where(difference.abs() <= floor, 0.0, difference / self.standard_error.clamp(min=1e-300))

    def __str__(self) -> str:
        def numbers(values: Tensor) -> str:
            return "[" + ", ".join(f"{value:.6g}" for value in values.reshape(-1).tolist()) + "]"

        return (
            f"estimate {numbers(self.estimate)}, truth {numbers(self.truth)}, standard error "
            f"{numbers(self.standard_error)}, z {numbers(self.z)} ({self.count} draws, |z| < {THRESHOLD} asked for)"
        )


def compare(sample: Tensor, truth: Tensor | float) -> Comparison:
    """Compare the mean over dim 0 of a sample with the truth.

    Example:
        >>> import torch
        >>> round(compare(torch.tensor([0.0, 2.0, 0.0, 2.0]), 1.0).z.item(), 3)
        0.0
    """
    sample = sample.detach()
    mean = sample.mean(0)
    error = sample.std(0) / math.sqrt(len(sample))
    return Comparison(mean, torch.as_tensor(truth, dtype=mean.dtype).detach().expand_as(mean), error, len(sample))


def require_mean(sample: Tensor, truth: Tensor | float, what: str) -> None:
    """Fail where the mean of a sample is further from the truth than chance explains.

    Raises:
        CheckFailure: with estimate, truth, standard error and z.
    """
    found = compare(sample, truth)
    if not bool((found.z.abs() < THRESHOLD).all()):
        raise CheckFailure(f"{what}: {found}")


def require_close(found: Tensor | float, truth: Tensor | float, what: str, tolerance: float = 1e-8) -> None:
    """Fail where a value that has no noise differs from the truth by more than rounding.

    Raises:
        CheckFailure: with both values and the largest difference.
    """
    left = torch.as_tensor(found, dtype=torch.float64).detach()
    right = torch.as_tensor(truth, dtype=torch.float64).detach()
    if left.shape != right.shape:
        raise CheckFailure(f"{what}: found shape {tuple(left.shape)}, expected {tuple(right.shape)}")
    error = (left - right).abs() / (1.0 + right.abs())
    if not bool((error <= tolerance).all()):
        raise CheckFailure(
            f"{what}: found {_shown(left)}, truth {_shown(right)} (exact: all draws forced; relative error "
            f"{error.max().item():.3g}, {tolerance:.0e} allowed)"
        )


def _shown(values: Tensor) -> str:
    return "[" + ", ".join(f"{value:.8g}" for value in values.reshape(-1).tolist()) + "]"
