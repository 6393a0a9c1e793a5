"""What this distribution registers; imports nothing but the plugin interface."""

from __future__ import annotations

from collections.abc import Iterable

from aleator.plugins import AlgorithmSpec, hookimpl

ALEATOR_PLUGIN_API = 1


@hookimpl
def aleator_algorithms() -> Iterable[AlgorithmSpec]:
    """The compiler of steps."""
    return [
        AlgorithmSpec(
            name="compile",
            target="aleator_jit_estimators.compilation:compile",
            summary="compiled steps and estimators, kept on disk for later processes",
        ),
    ]
