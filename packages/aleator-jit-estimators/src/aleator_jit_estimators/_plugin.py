"""What this distribution registers; imports nothing but the plugin interface."""

from __future__ import annotations

from collections.abc import Iterable

from aleator.plugins import AlgorithmSpec, EstimatorSpec, hookimpl

ALEATOR_PLUGIN_API = 1


@hookimpl
def aleator_estimators() -> Iterable[EstimatorSpec]:
    """The estimators of the evidence lower bound, compiled."""
    return [
        EstimatorSpec(
            name=f"Jit{name}",
            target=f"aleator_jit_estimators.jit_elbo:Jit{name}",
            summary=f"{name} with loss and gradient compiled",
        )
        for name in ("Trace_ELBO", "TraceGraph_ELBO", "TraceMeanField_ELBO", "TraceEnum_ELBO")
    ]


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
