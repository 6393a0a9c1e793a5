"""What this distribution registers; imports nothing but the plugin interface."""

from __future__ import annotations

from collections.abc import Iterable

from aleator.plugins import AlgorithmSpec, hookimpl

ALEATOR_PLUGIN_API = 1


@hookimpl
def aleator_algorithms() -> Iterable[AlgorithmSpec]:
    """Importance sampling."""
    return [
        AlgorithmSpec(
            name="Importance",
            target="aleator_importance.importance:Importance",
            summary="weighted draws from a guide or the prior, evidence, and how far both can be trusted",
        ),
    ]
