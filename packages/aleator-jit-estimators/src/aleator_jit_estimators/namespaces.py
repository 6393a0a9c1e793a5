"""A mapping from names to objects of which only some names matter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Set
from typing import Any, final

from aleator_jit_estimators.kinds import CONSTRUCTORS, NOISE
from aleator_jit_estimators.watch import Watch

__all__ = ["Namespace"]

_MAKES_INSTANCES = frozenset({"__class__", "type", "replace", "*"})


@final
class Namespace:
    """The attributes of a module, a class or an object: those that some code may name are part of a program.

    Args:
        path: what to call it.
        space: the mapping.
        always: names that matter beside those that code mentions; ``"*"`` for all.
        never: names that do not matter.
        is_class: whether special methods count, and what Python notes in a class does not.
    """

    __slots__ = ("_always", "_is_class", "_never", "_space", "_taken", "path")

    def __init__(
        self,
        path: str,
        space: Mapping[str, Any],
        always: Set[str] = frozenset(),
        never: Set[str] = frozenset(),
        is_class: bool = False,
    ) -> None:
        self.path = path
        self._space = space
        self._always = always
        self._never = never
        self._is_class = is_class
        self._taken: set[str] = set()

    def newly(self, mentions: set[str]) -> Iterator[tuple[str, Any]]:
        """Yield what has come to matter since this was last asked, in the order of the names."""
        if "*" in mentions or "*" in self._always:
            matters = frozenset(name for name in self._space if self._is_class or not _is_special(name))
        else:
            matters = frozenset((mentions | self._always) & self._space.keys())
        if self._is_class:
            special = {name for name in self._space if _is_special(name)}
            unused = frozenset() if mentions & _MAKES_INSTANCES else CONSTRUCTORS - self._always - mentions
            matters = (matters | (special - unused)) - NOISE
        new = sorted(matters - self._taken - self._never)
        self._taken.update(new)
        for name in new:
            yield name, self._space[name]

    def watch(self, watch: Watch) -> None:
        """Watch the names that matter, and which names there are."""
        watch.add_names(self._space, sorted(self._taken), ())
        watch.add_key_set(self._space, self._taken)


def _is_special(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")
