"""Typed keys for the private data that a plugin attaches to a site."""

from __future__ import annotations

from typing import Any, Generic, TypeVar, final

__all__ = ["Stash", "StashKey"]

T = TypeVar("T")


@final
class StashKey(Generic[T]):
    """The key to one plugin's data on a site; two keys never meet, whatever they are called.

    Example:
        >>> from aleator.stash import Stash, StashKey
        >>> ENUMERATION_DIM = StashKey[int]("enumeration_dim")
        >>> stash = Stash()
        >>> stash[ENUMERATION_DIM] = -3
        >>> stash[ENUMERATION_DIM]
        -3
    """

    __slots__ = ("label",)

    def __init__(self, label: str = "") -> None:
        self.label = label

    def __repr__(self) -> str:
        return f"StashKey({self.label!r})"


@final
class Stash:
    """What plugins have attached to one site, each under a key of its own."""

    __slots__ = ("_storage",)

    def __init__(self) -> None:
        self._storage: dict[StashKey[Any], Any] = {}

    def __setitem__(self, key: StashKey[T], value: T) -> None:
        self._storage[key] = value

    def __getitem__(self, key: StashKey[T]) -> T:
        return self._storage[key]  # type: ignore[no-any-return]  # the key says of what type its value is

    def __delitem__(self, key: StashKey[T]) -> None:
        del self._storage[key]

    def __contains__(self, key: StashKey[T]) -> bool:
        return key in self._storage

    def __len__(self) -> int:
        return len(self._storage)

    def get(self, key: StashKey[T], default: T | None = None) -> T | None:
        """Return the value under a key, or the default."""
        return self._storage.get(key, default)

    def copy(self) -> Stash:
        """Return a stash with the same entries; the values themselves are shared."""
        other = Stash()
        other._storage.update(self._storage)
        return other
