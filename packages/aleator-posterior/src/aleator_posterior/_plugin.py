"""What this distribution registers; imports nothing but the plugin interface."""

from __future__ import annotations

from collections.abc import Iterable

from aleator.plugins import AlgorithmSpec, hookimpl

ALEATOR_PLUGIN_API = 1


@hookimpl
def aleator_algorithms() -> Iterable[AlgorithmSpec]:
    """The containers that algorithms give their draws in."""
    return [
        AlgorithmSpec(
            name="Draws",
            target="aleator_posterior.draws:Draws",
            summary="weighted draws by site, with traces made when they are read",
        ),
        AlgorithmSpec(
            name="TracePosterior",
            target="aleator_posterior.trace_posterior:TracePosterior",
            summary="the base class of algorithms that give draws",
        ),
        AlgorithmSpec(
            name="EmpiricalMarginal",
            target="aleator_posterior.empirical_marginal:EmpiricalMarginal",
            summary="the marginal of one site, or of several of one shape, as a distribution",
        ),
        AlgorithmSpec(
            name="Marginals",
            target="aleator_posterior.marginals:Marginals",
            summary="the marginals of several sites, each on its own",
        ),
        AlgorithmSpec(
            name="TracePredictive",
            target="aleator_posterior.trace_predictive:TracePredictive",
            summary="the posterior predictive distribution, as a posterior",
        ),
        AlgorithmSpec(
            name="Predictive",
            target="aleator_posterior.predictive:Predictive",
            summary="predictions by site from values, a guide, a posterior or the prior",
        ),
    ]
