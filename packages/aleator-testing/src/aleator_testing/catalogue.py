"""All checks of the kit, in the order of their groups."""

from __future__ import annotations

from functools import cache
from importlib import import_module
from pkgutil import iter_modules

from aleator_testing import checks
from aleator_testing.check import Check

__all__ = ["all_checks", "find_check"]


@cache
def all_checks() -> tuple[Check, ...]:
    """Return every check.

    Raises:
        ValueError: two checks have one id.
    """
    found: list[Check] = []
    for name in sorted(module.name for module in iter_modules(checks.__path__)):
        found.extend(getattr(import_module(f"{checks.__name__}.{name}"), "CHECKS", ()))
    ids = [each.id for each in found]
    repeated = {each for each in ids if ids.count(each) > 1}
    if repeated:
        raise ValueError(f"two checks are called {sorted(repeated)}")
    return tuple(sorted(found, key=lambda each: (each.group, each.number)))


def find_check(name: str) -> Check:
    """Return the check with this id.

    Raises:
        LookupError: there is none.
    """
    for each in all_checks():
        if each.id == name:
            return each
    raise LookupError(f"no check is called {name!r}")
