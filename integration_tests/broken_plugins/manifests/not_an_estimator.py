"""Registers as an estimator a class that is none."""

from __future__ import annotations

from collections.abc import Iterable

from aleator.plugins import EstimatorSpec, hookimpl

ALEATOR_PLUGIN_API = 1


@hookimpl
def aleator_estimators() -> Iterable[EstimatorSpec]:
    return [EstimatorSpec(name="contract/Wrong", target="collections:OrderedDict", summary="No estimator.")]
