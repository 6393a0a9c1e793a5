"""What this distribution registers; it imports nothing but the plugin interface."""

from __future__ import annotations

from collections.abc import Iterable

from aleator.plugins import EstimatorSpec, hookimpl

ALEATOR_PLUGIN_API = 1


@hookimpl
def aleator_estimators() -> Iterable[EstimatorSpec]:
    """One estimator, under the vendor's name."""
    return [
        EstimatorSpec(
            name="example/VRMax",
            target="aleator_example_elbo.vr_max:VRMax",
            summary="the bound of the largest importance weight",
        )
    ]
