"""The two environment variables that steer discovery, read when discovery starts."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

__all__ = ["DISABLE", "STRICT", "Switches", "normalized"]

DISABLE = "ALEATOR_DISABLE_PLUGINS"
STRICT = "ALEATOR_PLUGINS_STRICT"


def normalized(distribution: str) -> str:
    """Return a distribution's name in the one spelling that all its spellings share."""
    return re.sub(r"[-_.]+", "-", distribution).lower()


@final
@dataclass(frozen=True, slots=True)
class Switches:
    """What the environment asks for.

    Attributes:
        disable: the names given in ``ALEATOR_DISABLE_PLUGINS``: distributions, entry points, ``distribution:entry``
            pairs, or ``*`` for all.
        strict: ``ALEATOR_PLUGINS_STRICT`` is set (and not ``0``): every failure raises.
    """

    disable: tuple[str, ...] = ()
    strict: bool = False

    @classmethod
    def read(cls, environment: Mapping[str, str] | None = None) -> Switches:
        """Read the switches from the process's environment, or from a mapping in its place."""
        source = os.environ if environment is None else environment
        names = tuple(name.strip() for name in source.get(DISABLE, "").split(",") if name.strip())
        return cls(disable=names, strict=source.get(STRICT, "").strip() not in ("", "0"))

    def disables(self, distribution: str, entry_point: str) -> bool:
        """Tell whether an entry point is switched off."""
        own = {"*", distribution, entry_point, f"{distribution}:{entry_point}"}
        return any(name in own or normalized(name) == distribution for name in self.disable)

    @property
    def disable_text(self) -> str:
        """The setting as one would type it."""
        return f"{DISABLE}={','.join(self.disable)}"
