"""A healthy third party beside the broken ones."""

from __future__ import annotations

from collections.abc import Iterable

from aleator.infer import AbstractEstimator
from aleator.plugins import Capabilities, EstimatorSpec, hookimpl

ALEATOR_PLUGIN_API = 1


class VRMax(AbstractEstimator):
    """Stands for an estimator."""

    capabilities = Capabilities()

    def estimate(self, model, guide, /, *args, **kwargs):
        raise NotImplementedError


@hookimpl
def aleator_estimators() -> Iterable[EstimatorSpec]:
    return [EstimatorSpec(name="healthy/VRMax", target=f"{__name__}:VRMax", summary="A healthy estimator.")]
