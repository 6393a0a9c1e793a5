"""What this distribution registers; imports nothing but the plugin interface."""

from __future__ import annotations

from collections.abc import Iterable

from aleator.plugins import AlgorithmSpec, EstimatorSpec, hookimpl

ALEATOR_PLUGIN_API = 1


@hookimpl
def aleator_estimators() -> Iterable[EstimatorSpec]:
    """The estimators of the evidence lower bound."""
    return [
        EstimatorSpec(
            name="ELBO",
            target="aleator_svi_elbo.elbo:ELBO",
            summary="the front door and the driver: particles, plates, tracing and checks",
        ),
        EstimatorSpec(
            name="Trace_ELBO",
            target="aleator_svi_elbo.trace_elbo:Trace_ELBO",
            summary="pathwise gradients, score function with plate-wise Rao-Blackwellization elsewhere",
        ),
    ]


@hookimpl
def aleator_infer_keys() -> Iterable[str]:
    """The gradient rule of a guide's site: ``"pathwise"``, ``"score"``, ``"stl"``, or an estimator's own."""
    return ["gradient"]


@hookimpl
def aleator_algorithms() -> Iterable[AlgorithmSpec]:
    """Stochastic variational inference."""
    return [
        AlgorithmSpec(
            name="SVI",
            target="aleator_svi_elbo.svi:SVI",
            summary="stochastic variational inference: steps, runs and posterior samples",
        ),
    ]
