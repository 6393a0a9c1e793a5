"""One of its hooks raises, the other gives an algorithm."""

from __future__ import annotations

from collections.abc import Iterable

from aleator.plugins import AlgorithmSpec, EstimatorSpec, hookimpl

ALEATOR_PLUGIN_API = 1


@hookimpl
def aleator_algorithms() -> Iterable[AlgorithmSpec]:
    return [AlgorithmSpec(name="raises/Whole", target="collections:OrderedDict", summary="Another hook's result.")]


@hookimpl
def aleator_estimators() -> Iterable[EstimatorSpec]:
    raise RuntimeError("the table of estimators is empty")
