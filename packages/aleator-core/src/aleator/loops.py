"""One turn of a loop as a handler: what sequential plates and markov loops put on the stack around each turn."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import ClassVar, TypeVar

from aleator.messenger import Messenger

__all__ = ["LoopTurn", "turns"]

T = TypeVar("T")


class LoopTurn(Messenger):
    """A handler that lasts for one turn of a ``for`` loop.

    A loop's body can end by an exception whose traceback keeps the generator, and so the turn, alive. Handlers further
    out clear it away when they exit; where there is none, the next outermost handler asks ``is_abandoned``.
    """

    opens_run: ClassVar[bool] = False
    consumer = 0

    def is_abandoned(self) -> bool:
        """Tell whether the function that runs the loop has left the chain of calls."""
        frame = sys._getframe(1)
        while frame is not None:
            if id(frame) == self.consumer:
                return False
            frame = frame.f_back  # type: ignore[assignment]  # the chain ends in None
        return True


def turns(turns_and_items: Iterable[tuple[LoopTurn, T]]) -> Iterator[T]:
    """Yield each item with its turn on the stack; the turn ends before the next begins, and when the loop ends."""
    for turn, item in turns_and_items:
        turn.consumer = id(sys._getframe(1))
        with turn:
            yield item
