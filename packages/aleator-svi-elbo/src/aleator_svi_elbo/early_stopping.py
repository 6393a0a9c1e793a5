"""Stop a run when the loss no longer falls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

__all__ = ["EarlyStopping"]


@final
@dataclass(frozen=True)
class EarlyStopping:
    """Stop when the mean loss of a window of steps has not fallen for several windows.

    Args:
        patience: how many windows without progress to wait for.
        min_delta: how much the mean must fall to count as progress.
        window: how many steps are averaged; the loss of one step is noise.

    Raises:
        ValueError: ``patience`` or ``window`` below 1, or ``min_delta`` below 0.

    Example:
        >>> EarlyStopping(patience=1, window=2).is_due([3.0, 3.0, 1.0, 1.0, 1.0, 1.0])
        True
    """

    patience: int = 5
    min_delta: float = 0.0
    window: int = 100

    def __post_init__(self) -> None:
        if self.patience < 1 or self.window < 1 or self.min_delta < 0:
            raise ValueError(f"EarlyStopping expects patience >= 1, window >= 1 and min_delta >= 0, but found {self}")

    def steps_until_decision(self, steps: int) -> int:
        """Return after how many more steps ``is_due`` may be true: at the end of the next window.

        Args:
            steps: how many losses there are by now.
        """
        return self.window - steps % self.window

    def is_due(self, losses: Sequence[float]) -> bool:
        """Tell, at the end of a window, whether to stop after these losses."""
        if len(losses) % self.window or len(losses) < self.window * (self.patience + 1):
            return False
        means = [sum(losses[start : start + self.window]) / self.window for start in range(0, len(losses), self.window)]
        return min(means[-self.patience :]) >= min(means[: -self.patience]) - self.min_delta
