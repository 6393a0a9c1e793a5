"""One turn of a loop as a handler: what sequential plates and markov loops put on the stack around each turn."""

from __future__ import annotations

import inspect
import sys
from abc import ABC
from collections.abc import Iterable, Iterator
from types import FrameType
from typing import ClassVar, TypeVar

from aleator.messenger import Messenger

__all__ = ["LoopTurn", "turns"]

T = TypeVar("T")


class LoopTurn(Messenger, ABC):
    """A handler that lasts for one turn of a ``for`` loop.

    A loop's body can end by an exception whose traceback keeps the generator, and so the turn, alive. Handlers further
    out clear it away when they exit; where there is none, the next outermost handler asks ``is_abandoned``.
    """

    opens_run: ClassVar[bool] = False
    consumer: FrameType | None = None

    def is_abandoned(self) -> bool:
        """Tell whether the function that runs the loop has left the chain of calls; a ``with`` block never does."""
        if self.consumer is None:
            return False
        frame: FrameType | None = sys._getframe(1)
        while frame is not None:
            if frame is self.consumer:
                return False
            frame = frame.f_back
        return True


def turns(turns_and_items: Iterable[tuple[LoopTurn, T]]) -> Iterator[T]:
    """Yield each item with its turn on the stack; the turn ends before the next begins, and when the loop ends."""
    for turn, item in turns_and_items:
        turn.consumer = _consumer()
        try:
            with turn:
                yield item
        finally:
            turn.consumer = None  # it leads back to this generator


def _consumer() -> FrameType | None:
    """Find who runs the loop: the nearest function that is no generator; a progress bar, say, may lie between."""
    frame: FrameType | None = sys._getframe(2)
    while frame is not None and frame.f_back is not None and frame.f_code.co_flags & inspect.CO_GENERATOR:
        frame = frame.f_back
    return frame
