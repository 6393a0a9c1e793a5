"""Was built for a plugin API of the future."""

from __future__ import annotations

from collections.abc import Iterable

from aleator.plugins import EstimatorSpec, hookimpl

ALEATOR_PLUGIN_API = 2


@hookimpl
def aleator_estimators() -> Iterable[EstimatorSpec]:
    raise AssertionError("a plugin of another API is not called")
