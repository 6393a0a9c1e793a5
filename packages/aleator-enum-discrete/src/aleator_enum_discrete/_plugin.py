"""What this distribution registers; imports nothing but the plugin interface."""

from __future__ import annotations

from collections.abc import Iterable

from aleator.plugins import EstimatorSpec, hookimpl

ALEATOR_PLUGIN_API = 1


@hookimpl
def aleator_estimators() -> Iterable[EstimatorSpec]:
    """No estimator yet: the names that the core promises from here join as they are built."""
    return ()
