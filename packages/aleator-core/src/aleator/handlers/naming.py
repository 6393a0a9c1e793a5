"""How handlers that are given names match them with sites, and say so when one matched nothing."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable

from aleator.errors import AleatorWarning
from aleator.plugins.attribution import warn_caller
from aleator.plugins.suggestions import did_you_mean

__all__ = ["matching_key", "warn_unmatched"]


def matching_key(parameter: str, keys: Container[str]) -> str | None:
    """Return the key that means a parameter: its full name, else, of a module's parameter, the part after ``$$$``.

    Example:
        >>> matching_key("net$$$weight", {"weight", "bias"})
        'weight'
    """
    if parameter in keys:
        return parameter
    own_name = parameter.rpartition("$$$")[2]
    return own_name if own_name in keys else None


def warn_unmatched(handler: str, names: Iterable[str], matched: Collection[str], met: Collection[str]) -> None:
    """Warn about each name that no site of the run had.

    Args:
        handler: who was given the names.
        names: the names.
        matched: those of them that matched.
        met: the names that the run had, to suggest one of them.

    Warns:
        AleatorWarning: names the handler and the name.
    """
    for name in names:
        if name not in matched:
            warn_caller(
                f"{handler}: no site {name!r} in this run, so that what is given for it has no effect"
                f"{did_you_mean(name, met)}",
                AleatorWarning,
            )
