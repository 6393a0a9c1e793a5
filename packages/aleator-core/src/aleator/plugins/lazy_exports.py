"""A plugin package's public names, imported when they are first used: reading its manifest must stay cheap."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from importlib import import_module

__all__ = ["lazy_exports"]


def lazy_exports(package: str, homes: Mapping[str, str]) -> tuple[Callable[[str], object], Callable[[], list[str]]]:
    """Return ``__getattr__`` and ``__dir__`` for a package whose names live in modules of its own (PEP 562).

    Args:
        package: the package's ``__name__``.
        homes: by public name, the module of the package that defines it.

    Example:
        >>> from aleator.plugins import lazy_exports
        >>> find, names = lazy_exports("collections", {"Mapping": "abc"})
        >>> find("Mapping").__name__, "Mapping" in names()
        ('Mapping', True)
    """

    def attribute(name: str) -> object:
        home = homes.get(name)
        if home is None:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{home}"), name)

    def names() -> list[str]:
        return sorted({*vars(sys.modules[package]), *homes})

    return attribute, names
