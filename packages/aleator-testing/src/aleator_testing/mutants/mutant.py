"""A broken estimator that a check has to find."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import final

from aleator.infer import AbstractEstimator

__all__ = ["Mutant"]


@final
@dataclass(frozen=True)
class Mutant:
    """An estimator with one thing broken.

    Attributes:
        name: what is broken, in words.
        factory: makes the estimator.
        fails: the ids of the checks that must find it; others may.
    """

    name: str
    factory: Callable[..., AbstractEstimator]
    fails: frozenset[str]
