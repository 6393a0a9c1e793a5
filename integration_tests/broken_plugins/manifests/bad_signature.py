"""Gives a hook an argument; its other hook is sound, and must not stay behind."""

from __future__ import annotations

from collections.abc import Iterable

from aleator.plugins import AlgorithmSpec, EstimatorSpec, hookimpl

ALEATOR_PLUGIN_API = 1


@hookimpl
def aleator_algorithms() -> Iterable[AlgorithmSpec]:
    return [AlgorithmSpec(name="signature/Half", target="collections:OrderedDict", summary="Must not stay behind.")]


@hookimpl
def aleator_estimators(model: object) -> Iterable[EstimatorSpec]:
    return []
