"""Names a target that does not exist."""

from __future__ import annotations

from collections.abc import Iterable

from aleator.plugins import EstimatorSpec, hookimpl

ALEATOR_PLUGIN_API = 1


@hookimpl
def aleator_estimators() -> Iterable[EstimatorSpec]:
    return [EstimatorSpec(name="target/Missing", target="broken_bad_target.missing:Missing", summary="Not there.")]
