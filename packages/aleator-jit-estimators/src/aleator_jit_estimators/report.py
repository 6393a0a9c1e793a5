"""What compiling came to."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

__all__ = ["CompileReport", "total"]


class CompileReport(NamedTuple):
    """What compiling came to so far.

    Attributes:
        captured: how many graphs were recorded to be built.
        built: how many of them were built, by whatever backend.
        loaded: how many steps came from the disk, built by an earlier process.
        seconds: spent in this process on all of that, waiting for a build included.
        eager: why steps run uncompiled, where they do.
        waiting: how many builds are under way in the background.
        eager_step: seconds that a step took uncompiled, at best; 0 where none was taken.
        compiled_step: seconds that a step of ``SVI`` took compiled, at best; 0 where none was taken.
    """

    captured: int = 0
    built: int = 0
    loaded: int = 0
    seconds: float = 0.0
    eager: tuple[str, ...] = ()
    waiting: int = 0
    eager_step: float = 0.0
    compiled_step: float = 0.0

    @property
    def break_even(self) -> float:
        """After how many steps compiling has paid for itself; infinite where a compiled step is no faster."""
        saved = self.eager_step - self.compiled_step
        return self.seconds / saved if self.compiled_step and saved > 0 else float("inf")

    def __str__(self) -> str:
        lines = [
            f"graphs recorded {self.captured}, built {self.built}, loaded {self.loaded}, being built {self.waiting}",
            f"seconds spent {self.seconds:.2f}, {self._paid()}",
            f"a step: {_measured(self.eager_step)} uncompiled, {_measured(self.compiled_step)} compiled",
        ]
        return "\n".join([*lines, *self.eager])

    def _paid(self) -> str:
        if not (self.eager_step and self.compiled_step):
            return "break-even not measured: it takes steps of both kinds"
        if self.break_even == float("inf"):
            return "not paid for: a compiled step is no faster"
        return f"paid for after {self.break_even:.0f} steps"


def _measured(seconds: float) -> str:
    return f"{seconds * 1e6:.0f} us" if seconds else "not measured"


def total(reports: Iterable[CompileReport]) -> CompileReport:
    """Return the sum of reports; the measured steps are those of the last one that has any."""
    result = CompileReport()
    for each in reports:
        result = CompileReport(
            result.captured + each.captured,
            result.built + each.built,
            result.loaded + each.loaded,
            result.seconds + each.seconds,
            tuple(dict.fromkeys((*result.eager, *each.eager))),
            result.waiting + each.waiting,
            each.eager_step or result.eager_step,
            each.compiled_step or result.compiled_step,
        )
    return result
