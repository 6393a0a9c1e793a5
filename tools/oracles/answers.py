"""What an exact method says about a network with some variables observed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

__all__ = ["Answers"]


@final
@dataclass(frozen=True, slots=True)
class Answers:
    """The answers of one method; what it cannot give is ``None``.

    Attributes:
        log_evidence: the log probability of what is observed.
        marginals: for each other variable, the probabilities of its values given what is observed.
        log_maximum: the log probability of the most probable values of all other variables, together with what is
            observed. Values themselves are not compared: several may have it.
    """

    log_evidence: float | None
    marginals: Mapping[str, Sequence[float]]
    log_maximum: float | None
