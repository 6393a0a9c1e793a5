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
        EstimatorSpec(
            name="TraceGraph_ELBO",
            target="aleator_svi_elbo.trace_graph_elbo:TraceGraph_ELBO",
            summary="as Trace_ELBO, with Rao-Blackwellization by dependence, and baselines",
        ),
        EstimatorSpec(
            name="TraceMeanField_ELBO",
            target="aleator_svi_elbo.trace_mean_field_elbo:TraceMeanField_ELBO",
            summary="analytic divergences where they are known and right, draws elsewhere",
        ),
    ]


@hookimpl
def aleator_infer_keys() -> Iterable[str]:
    """The gradient rule of a guide's site (``"pathwise"``, ``"score"``, ``"stl"`` or one's own), its baseline."""
    return ["gradient", "baseline"]


@hookimpl
def aleator_algorithms() -> Iterable[AlgorithmSpec]:
    """Stochastic variational inference, as an object and as functions."""
    return [
        AlgorithmSpec(
            name="functional",
            target="aleator_svi_elbo.functional",
            summary="stochastic variational inference as functions of a state",
        ),
        AlgorithmSpec(
            name="SVI",
            target="aleator_svi_elbo.svi:SVI",
            summary="stochastic variational inference: steps, runs and posterior samples",
        ),
    ]
