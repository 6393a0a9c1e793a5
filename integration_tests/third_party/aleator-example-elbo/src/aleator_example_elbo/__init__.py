"""An estimator for Aleator from outside."""

from __future__ import annotations

from aleator_example_elbo.vr_max import VRMax

__all__ = ["VRMax"]
