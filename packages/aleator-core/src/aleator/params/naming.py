"""The error for a name that is not there, with the names that its author may have meant."""

from __future__ import annotations

from collections.abc import Iterable
from typing import final

from aleator.errors import ParameterError

__all__ = ["MissingParameterError", "nearest"]


@final
class MissingParameterError(ParameterError, KeyError):
    """A store has no such name; a ``KeyError`` too, as for any mapping."""

    def __str__(self) -> str:
        # KeyError would show the message in quotes.
        return str(self.args[0]) if self.args else ""


def nearest(name: str, names: Iterable[str]) -> str:
    """Return "; nearest names: ..." for a message, or an empty string where nothing is near.

    Example:
        >>> nearest("scle", ["scale", "loc"])
        "; nearest names: 'scale'"
    """
    import difflib  # on the way to an error only

    found = difflib.get_close_matches(name, list(names), n=3)
    return f"; nearest names: {', '.join(map(repr, found))}" if found else ""
