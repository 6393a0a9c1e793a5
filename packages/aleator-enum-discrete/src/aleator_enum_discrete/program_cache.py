"""What was found out about programs, kept for the last few hundred of them."""

from __future__ import annotations

from collections import OrderedDict
from threading import Lock
from typing import Any, Generic, TypeVar, final

__all__ = ["ProgramCache"]

T = TypeVar("T")


@final
class ProgramCache(Generic[T]):
    """A bounded mapping that threads share; clearing it changes no result.

    Args:
        most: how many entries to keep, those used last.
    """

    def __init__(self, most: int = 256) -> None:
        self._found: OrderedDict[Any, T] = OrderedDict()
        self._most = most
        self._lock = Lock()

    def __len__(self) -> int:
        return len(self._found)

    def get(self, key: Any) -> T | None:  # noqa: ANN401  # hashable
        """Return what is known, if anything."""
        with self._lock:
            if key in self._found:
                self._found.move_to_end(key)
            return self._found.get(key)

    def put(self, key: Any, found: T) -> None:  # noqa: ANN401  # hashable
        """Remember what was found."""
        with self._lock:
            self._found[key] = found
            self._found.move_to_end(key)
            while len(self._found) > self._most:
                self._found.popitem(last=False)

    def drop(self, key: Any) -> None:  # noqa: ANN401  # hashable
        """Forget what holds no more."""
        with self._lock:
            self._found.pop(key, None)
