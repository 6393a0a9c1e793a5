"""What this distribution registers; imports nothing but the plugin interface."""

from __future__ import annotations

from collections.abc import Iterable

from aleator.plugins import AlgorithmSpec, EstimatorSpec, HandlerSpec, hookimpl

ALEATOR_PLUGIN_API = 1


@hookimpl
def aleator_estimators() -> Iterable[EstimatorSpec]:
    """The estimator that sums discrete sites out."""
    return [
        EstimatorSpec(
            name="TraceEnum_ELBO",
            target="aleator_enum_discrete.trace_enum_elbo:TraceEnum_ELBO",
            summary="discrete sites summed out, in the model inside the logarithm, in the guide outside",
        )
    ]


@hookimpl
def aleator_handlers() -> Iterable[HandlerSpec]:
    """Enumeration as a handler, and posterior draws or maxima of enumerated sites."""
    return [
        HandlerSpec(
            name="enum",
            target="aleator_enum_discrete.enum_messenger:enum",
            summary="run a program on all values of its marked sites, each along a dim of its own",
        ),
        HandlerSpec(
            name="infer_discrete",
            target="aleator_enum_discrete.infer_discrete:infer_discrete",
            summary="give marked sites a joint posterior draw, or their most probable values",
        ),
    ]


@hookimpl
def aleator_algorithms() -> Iterable[AlgorithmSpec]:
    """What marks sites, and what decodes them."""
    return [
        AlgorithmSpec(
            name="config_enumerate",
            target="aleator_enum_discrete.configuration:config_enumerate",
            summary="mark the discrete sites of a program for enumeration",
        ),
        AlgorithmSpec(
            name="infer_discrete",
            target="aleator_enum_discrete.infer_discrete:infer_discrete",
            summary="give marked sites a joint posterior draw, or their most probable values",
        ),
        AlgorithmSpec(
            name="BackwardSampleMessenger",
            target="aleator_enum_discrete.backward_sampling:BackwardSampleMessenger",
            summary="draw enumerated sites of a recorded run from their joint posterior",
        ),
    ]


@hookimpl
def aleator_infer_keys() -> Iterable[str]:
    """How a discrete site is summed out, by how many draws, and in which shape."""
    return ["enumerate", "num_samples", "expand"]
