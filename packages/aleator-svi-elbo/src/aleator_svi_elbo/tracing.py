"""Run a model and its guide as a pair, particle by particle or with the particles as one tensor dim."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, final

from aleator.errors import UnsupportedModelError
from aleator.handlers import Messenger, plate
from aleator.handlers.replay import ReplayMessenger
from aleator.handlers.trace import TraceMessenger
from aleator.infer import analyse
from aleator.infer.checks import check_match, check_shapes
from aleator.settings import validation_enabled

if TYPE_CHECKING:
    from aleator.infer import AbstractEstimator
    from aleator.sites import Site
    from aleator.trace import Trace
    from aleator_svi_elbo.elbo import ELBO

__all__ = ["Pair", "trace_looped", "trace_pair", "trace_vectorized"]

Program = Callable[..., Any]
PARTICLES = "num_particles_vectorized"


class Pair(NamedTuple):
    """The runs of one particle: the model's, replayed against the guide's, and the guide's."""

    model_trace: Trace
    guide_trace: Trace


def trace_pair(
    estimator: AbstractEstimator, model: Program, guide: Program, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Pair:
    """Run the guide, run the model against it, and check that they fit each other and the estimator.

    Raises:
        ModelGuideMismatchError, UnsupportedModelError, ValueError: naming the site that does not fit.
    """
    with TraceMessenger() as guide_trace:
        guide(*args, **kwargs)
    with TraceMessenger() as model_trace, ReplayMessenger(trace=guide_trace):
        model(*args, **kwargs)
    check_match(model_trace, guide_trace)
    check_wishes(estimator, model_trace, guide_trace)
    if validation_enabled():
        check_shapes(guide_trace, "guide")
        check_shapes(model_trace, "model")
    return Pair(model_trace, guide_trace)


def trace_looped(
    estimator: ELBO, model: Program, guide: Program, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Iterator[Pair]:
    """Run one pair per particle; all of them see the subsample of the first."""
    first = trace_pair(estimator, model, guide, args, kwargs)
    yield first
    if estimator.num_particles > 1:
        shared = SharedSubsample(first)
        del first
        for _ in range(estimator.num_particles - 1):
            with shared:
                pair = trace_pair(estimator, model, guide, args, kwargs)
            yield pair


def trace_vectorized(
    estimator: ELBO, model: Program, guide: Program, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> Pair:
    """Run all particles as one pair, under a plate to the left of the programs' own."""
    nesting = estimator.max_plate_nesting
    if math.isinf(nesting):
        nesting = analyse(model, guide, *args, **kwargs).nesting
    dim = -(int(nesting) + 1)
    guide_plate = plate(PARTICLES, estimator.num_particles, dim=dim)

    def under_plate(program: Program) -> Program:
        def run(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # the program's own
            with guide_plate:
                return program(*args, **kwargs)

        return run

    return trace_pair(estimator, under_plate(model), under_plate(guide), args, kwargs)


def check_wishes(estimator: AbstractEstimator, model_trace: Trace, guide_trace: Trace) -> None:
    """Refuse what a site asks for in ``infer`` and the estimator states it cannot do.

    Raises:
        UnsupportedModelError: naming the site, the wish and the capability.
    """
    capabilities = estimator.capabilities
    for trace in (guide_trace, model_trace):
        for name, site in trace.nodes.items():
            if site.type != "sample":
                continue
            infer = site.infer
            if infer and not site.is_observed:
                if infer.get("enumerate") and not capabilities.enumeration:
                    raise UnsupportedModelError(
                        f"site {name!r} asks for enumeration, but {type(estimator).__name__} does not enumerate "
                        f"(capability 'enumeration'); use TraceEnum_ELBO, or take the mark away"
                    )
                rule = infer.get("gradient")
                if rule is not None and rule not in capabilities.gradient_rules:
                    raise UnsupportedModelError(
                        f"site {name!r} asks for the gradient rule {rule!r}, but {type(estimator).__name__} has "
                        f"{sorted(capabilities.gradient_rules)} (capability 'gradient_rules')"
                    )
            if trace is guide_trace and not capabilities.non_reparam and not site.is_observed:
                if not getattr(site.fn, "has_rsample", False):
                    raise UnsupportedModelError(
                        f"guide site {name!r} has no reparameterized draw ({type(site.fn).__name__}), and "
                        f"{type(estimator).__name__} needs one (capability 'non_reparam'); use Trace_ELBO"
                    )


@final
class SharedSubsample(Messenger):
    """Gives every plate the indices that it had in another particle; a fresh subsample per particle biases bounds."""

    def __init__(self, pair: Pair) -> None:
        self._indices = {
            name: site.value for trace in pair for name, site in trace.nodes.items() if site.type == "subsample"
        }

    def process_subsample(self, site: Site) -> None:
        """Set the indices where the plate does not state its own."""
        if site.value is None and site.name in self._indices:
            site.value = self._indices[site.name]
            site.done = True
