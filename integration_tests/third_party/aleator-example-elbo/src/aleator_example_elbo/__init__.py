"""An estimator for Aleator from outside; imported when it is first used, so that listing plugins stays cheap."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aleator_example_elbo.vr_max import VRMax

__all__ = ["VRMax"]


def __getattr__(name: str) -> object:
    if name == "VRMax":
        from aleator_example_elbo.vr_max import VRMax

        return VRMax
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
