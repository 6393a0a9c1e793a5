"""Conditions on objects that are known by now, looked at by one function that is written for them."""

from __future__ import annotations

import gc
from collections.abc import Callable, Sequence
from types import MappingProxyType
from typing import Any, final

__all__ = ["Conditions"]

_LONGEST = 400  # conditions in one expression


@final
class Conditions:
    """Expressions over objects, joined by ``and`` in the order in which they were said.

    The function is compiled from source text, as one expression of comparisons: a loop over places would take several
    times as long. Nothing of a program gets into that text but names of attributes and variables, as string literals.
    """

    __slots__ = ("_names", "_said", "_space")

    def __init__(self) -> None:
        self._space: dict[str, Any] = {}
        self._names: dict[int, str] = {}
        self._said: dict[str, None] = {}

    def name(self, value: Any) -> str:  # noqa: ANN401  # any object
        """Return what an object is called in conditions; it is kept, so that its identity stays its own."""
        if value is None or value is True or value is False:
            return repr(value)
        if type(value) is MappingProxyType:  # a new one each time that a class is asked for its namespace
            inside = gc.get_referents(value)
            value = inside[0] if len(inside) == 1 and type(inside[0]) is dict else value
        found = self._names.get(id(value))
        if found is None:
            found = self._names[id(value)] = f"known_{len(self._space)}"
            self._space[found] = value
        return found

    def say(self, condition: str) -> None:
        """Add a condition, if it is not there yet."""
        self._said[condition] = None

    def copy(self) -> Conditions:
        """Return conditions to go on from here."""
        twin = Conditions()
        twin._space, twin._names, twin._said = dict(self._space), dict(self._names), dict(self._said)
        return twin

    def function(
        self, arguments: Sequence[str] = (), before: Sequence[str] = (), after: Sequence[str] = ()
    ) -> Callable[..., bool]:
        """Return a function that tells whether everything holds; what cannot be looked up does not hold.

        Args:
            arguments: names of its arguments, for conditions to use.
            before: statements that come first.
            after: statements that come last, where everything holds.
        """
        said = [*self._said]
        pieces = [said[at : at + _LONGEST] for at in range(0, len(said), _LONGEST)]
        lines = [*before, *(f"if not ({' and '.join(piece)}): return False" for piece in pieces), *after, "return True"]
        text = "\n        ".join(lines)
        source = (
            f"def look({', '.join(arguments)}):\n    try:\n        {text}\n"
            f"    except (KeyError, TypeError, ValueError, RuntimeError):\n        return False\n"
        )
        space = dict(self._space)
        exec(compile(source, "<conditions>", "exec"), space)  # see the class
        look: Callable[..., bool] = space["look"]
        return look
