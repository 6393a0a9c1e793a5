"""Built into two distributions, which so register one name."""

from __future__ import annotations

from collections.abc import Iterable

from aleator.plugins import EstimatorSpec, hookimpl

ALEATOR_PLUGIN_API = 1


@hookimpl
def aleator_estimators() -> Iterable[EstimatorSpec]:
    return [EstimatorSpec(name="shared/VRMax", target="broken_healthy._plugin:VRMax", summary="Registered twice.")]
