"""A healthy official plugin beside the broken ones."""

from __future__ import annotations

from collections.abc import Iterable

from aleator.infer import AbstractEstimator
from aleator.plugins import AlgorithmSpec, Capabilities, hookimpl

ALEATOR_PLUGIN_API = 1


class Importance(AbstractEstimator):
    """Stands for an estimator."""

    capabilities = Capabilities()

    def estimate(self, model, guide, /, *args, **kwargs):
        raise NotImplementedError


@hookimpl
def aleator_algorithms() -> Iterable[AlgorithmSpec]:
    return [AlgorithmSpec(name="Importance", target=f"{__name__}:Importance", summary="A healthy algorithm.")]
