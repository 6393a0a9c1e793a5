"""Broken handlers, for the checks of ``check_messenger``."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, final

import torch

from aleator.handlers import Messenger
from aleator.runtime import STACK

if TYPE_CHECKING:
    from types import TracebackType

    from aleator.sites import Site

__all__ = ["BROKEN_HANDLERS", "BrokenHandler"]


@final
@dataclass(frozen=True)
class BrokenHandler:
    """A handler with one thing broken.

    Attributes:
        name: what is broken, in words.
        factory: makes it.
        fails: the id of the check that must find it.
    """

    name: str
    factory: Callable[[], Messenger]
    fails: str


@final
class StaysOnError(Messenger):
    """Is left on the stack where the program raises."""

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        """Clean up after good runs alone."""
        return super().__exit__(kind, error, traceback) if kind is None else None


@final
class OnlyAsContext(Messenger):
    """Does its work as a context manager, and nothing as a decorator."""

    def __call__(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function as it is."""
        return fn

    def process_sample(self, site: Site) -> None:
        """Double the scale."""
        site.scale = site.scale * 2.0


@final
class WearsOut(Messenger):
    """Weighs each program more than the one before."""

    def __init__(self) -> None:
        super().__init__()
        self.uses = 0

    def __enter__(self) -> WearsOut:
        """Count the uses."""
        self.uses += 1
        super().__enter__()
        return self

    def process_sample(self, site: Site) -> None:
        """Scale by the number of uses."""
        site.scale = site.scale * self.uses


@final
class DrawsWhenEntered(Messenger):
    """Draws a random number before any program runs."""

    def __enter__(self) -> DrawsWhenEntered:
        """Draw."""
        torch.rand(())
        super().__enter__()
        return self


@final
class StandsAlone(Messenger):
    """Puts the other handlers aside while it is entered."""

    def __enter__(self) -> StandsAlone:
        """Keep the others, and start from nothing."""
        self.others = STACK.get()
        super().__enter__()
        STACK.set(STACK.get()[len(self.others) :])
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        """Put the others back."""
        found = super().__exit__(kind, error, traceback)
        STACK.set(self.others)
        return found


@final
class CountsInItself(Messenger):
    """Notes in itself, not in the entry, how many sites a run has had."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = 0

    def __enter__(self) -> CountsInItself:
        """Begin to count anew."""
        self.seen = 0
        super().__enter__()
        return self

    def process_sample(self, site: Site) -> None:
        """Scale by the number of the site."""
        self.seen += 1
        site.scale = site.scale * self.seen


BROKEN_HANDLERS: tuple[BrokenHandler, ...] = (
    BrokenHandler("stays on the stack after an error", StaysOnError, "stack_restored"),
    BrokenHandler("does nothing as a decorator", OnlyAsContext, "decorator_equals_context"),
    BrokenHandler("wears out", WearsOut, "reusable"),
    BrokenHandler("draws when entered", DrawsWhenEntered, "entering_is_silent"),
    BrokenHandler("puts other handlers aside", StandsAlone, "others_stay"),
    BrokenHandler("counts in itself", CountsInItself, "threads_apart"),
)
