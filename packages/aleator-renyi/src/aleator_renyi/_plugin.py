"""What this distribution registers; imports nothing but the plugin interface."""

from __future__ import annotations

from collections.abc import Iterable

from aleator.plugins import EstimatorSpec, hookimpl

ALEATOR_PLUGIN_API = 1


@hookimpl
def aleator_estimators() -> Iterable[EstimatorSpec]:
    """The bounds that fold particles by their weights."""
    return [
        EstimatorSpec(
            name="RenyiELBO",
            target="aleator_renyi.renyi_elbo:RenyiELBO",
            summary="Renyi bounds of any order, with the gradient of the bound as reported",
        ),
        EstimatorSpec(
            name="IWAE",
            target="aleator_renyi.iwae:IWAE",
            summary="the importance weighted bound, tighter with every particle",
        ),
    ]
