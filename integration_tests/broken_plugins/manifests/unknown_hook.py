"""Implements a hook that does not exist; its other hook is sound, and must not stay behind."""

from __future__ import annotations

from collections.abc import Iterable

from aleator.plugins import AlgorithmSpec, hookimpl

ALEATOR_PLUGIN_API = 1


@hookimpl
def aleator_algorithms() -> Iterable[AlgorithmSpec]:
    return [AlgorithmSpec(name="unknown/Half", target="collections:OrderedDict", summary="Must not stay behind.")]


@hookimpl
def aleator_before_step() -> None:
    raise AssertionError("nobody calls this")
