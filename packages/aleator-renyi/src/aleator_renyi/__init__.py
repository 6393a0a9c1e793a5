"""Renyi and importance weighted bounds on the evidence.

Names are imported when they are first used, so that reading this plugin's manifest stays cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aleator.plugins import lazy_exports

if TYPE_CHECKING:
    from aleator_renyi.iwae import IWAE
    from aleator_renyi.renyi_elbo import RenyiELBO

__all__ = ["IWAE", "RenyiELBO"]

_HOMES = {"IWAE": "iwae", "RenyiELBO": "renyi_elbo"}

__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
