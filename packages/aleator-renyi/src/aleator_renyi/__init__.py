"""Renyi and importance weighted bounds on the evidence.

Names are imported when they are first used, so that reading this plugin's manifest stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aleator_renyi.iwae import IWAE
    from aleator_renyi.renyi_elbo import RenyiELBO

__all__ = ["IWAE", "RenyiELBO"]

_HOMES = {"IWAE": "iwae", "RenyiELBO": "renyi_elbo"}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
