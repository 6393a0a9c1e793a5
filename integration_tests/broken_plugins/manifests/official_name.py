"""Claims an official name."""

from __future__ import annotations

from collections.abc import Iterable

from aleator.plugins import AlgorithmSpec, hookimpl

ALEATOR_PLUGIN_API = 1


@hookimpl
def aleator_algorithms() -> Iterable[AlgorithmSpec]:
    return [AlgorithmSpec(name="Importance", target="collections:OrderedDict", summary="Not the official one.")]
