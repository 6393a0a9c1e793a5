"""Run a model and its guide as a pair, particle by particle or with the particles as one tensor dim."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import TYPE_CHECKING, Any, NamedTuple, final

import torch
from torch import Tensor

from aleator.capture import values_are_readable
from aleator.errors import ModelGuideMismatchError
from aleator.handlers import Messenger, plate
from aleator.handlers.replay import ReplayMessenger
from aleator.handlers.trace import TraceMessenger
from aleator.infer import analyse
from aleator.infer.checks import check_match, check_shapes
from aleator.infer.gradient_rules import RuledDraws, check_wishes, rules_of
from aleator.infer.structure import forget
from aleator.settings import validation_enabled
from aleator.validation import PENDING
from aleator_svi_elbo.path_density import attach_path_densities

if TYPE_CHECKING:
    from aleator.sites import Site
    from aleator.trace import Trace
    from aleator_svi_elbo.elbo import ELBO

__all__ = ["NestingError", "Pair", "entered", "trace_looped", "trace_pair", "trace_vectorized"]

Program = Callable[..., Any]
PARTICLES = "num_particles_vectorized"


class Pair(NamedTuple):
    """The runs of one particle: the model's, replayed against the guide's, and the guide's."""

    model_trace: Trace
    guide_trace: Trace


def entered(handlers: Sequence[Messenger]) -> AbstractContextManager[object]:
    """Enter handlers, the first outermost."""
    if not handlers:
        return _NOTHING
    return handlers[0] if len(handlers) == 1 else _entered(handlers)


@contextmanager
def _entered(handlers: Sequence[Messenger]) -> Iterator[None]:
    with ExitStack() as stack:
        for handler in handlers:
            stack.enter_context(handler)
        yield


_NOTHING: AbstractContextManager[object] = nullcontext()


def _under(handlers: Sequence[Messenger], program: Program) -> Program:
    """Return a program that runs inside handlers."""
    if not handlers:
        return program

    def run(*args: Any, **kwargs: Any) -> Any:  # noqa: ANN401  # the program's own
        with entered(handlers):
            return program(*args, **kwargs)

    return run


def trace_pair(
    estimator: ELBO,
    model: Program,
    guide: Program,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    around: Sequence[Messenger] = (),
    guide_handlers: Sequence[Messenger] = (),
    model_handlers: Sequence[Messenger] = (),
) -> Pair:
    """Run the guide, run the model against it, and check that they fit each other and the estimator.

    Args:
        estimator: whose rules and checks hold.
        model, guide: the programs.
        args, kwargs: their arguments.
        around: handlers to enter around each program itself.
        guide_handlers, model_handlers: handlers that see what is left to draw: outside of the replay.

    Raises:
        ModelGuideMismatchError, UnsupportedModelError, ValueError: naming the site that does not fit.
    """
    model, guide = _under(around, model), _under(around, guide)
    draws = RuledDraws(rules_of(estimator))
    with draws, TraceMessenger() as guide_trace, entered(guide_handlers):
        guide(*args, **kwargs)
    estimator.after_guide(guide_trace)
    with TraceMessenger() as model_trace, entered(model_handlers), ReplayMessenger(trace=guide_trace):
        model(*args, **kwargs)
    check_match(model_trace, guide_trace)
    check_wishes(estimator, model_trace, guide_trace)
    if validation_enabled():
        check_shapes(guide_trace, "guide")
        check_shapes(model_trace, "model")
        check_minibatches(model_trace, guide_trace)
    if draws.path_sites:
        attach_path_densities(guide, guide_trace, draws.path_sites, args, kwargs)
    return Pair(model_trace, guide_trace)


def check_minibatches(model_trace: Trace, guide_trace: Trace) -> None:
    """Check that plates of one name have the same minibatch in both programs.

    The model takes over what the guide drew, unless its plate states the indices itself. Nothing is compared but
    minibatches that both programs have made on their own.

    Raises:
        ModelGuideMismatchError: naming the plate.
    """
    for name, site in guide_trace.nodes.items():
        other = model_trace.nodes.get(name) if site.type == "subsample" else None
        if other is None or other.type != "subsample" or other.value is site.value:
            continue
        if not values_are_readable() or torch.equal(other.value, site.value.to(other.value.device)):
            continue
        raise ModelGuideMismatchError(
            f"plate {name!r} has another minibatch in the model than in the guide ({_shown(other.value)} and "
            f"{_shown(site.value)}); give both plates the same subsample=, or none of them"
        )


def _shown(indices: Tensor) -> str:
    return f"{indices[:5].tolist()}{'...' if len(indices) > 5 else ''}"


def trace_looped(
    estimator: ELBO,
    model: Program,
    guide: Program,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    freeing: bool = False,
) -> Iterator[tuple[Pair, ...]]:
    """Run the programs for each particle; all of them see the subsample of the first.

    Args:
        freeing: keep nothing of a particle once the next is asked for, the notes of what to check in it included.
    """
    first = estimator.trace_particle(model, guide, args, kwargs)
    yield first
    if estimator.num_particles > 1:
        shared = SharedSubsample(first[0])
        del first
        for _ in range(estimator.num_particles - 1):
            if freeing:
                _fold_checks()
            with shared:
                pairs = estimator.trace_particle(model, guide, args, kwargs)
            yield pairs


def _fold_checks() -> None:
    checks = PENDING.get()
    if checks is not None and checks.notes:
        checks.fold()
    elif checks is not None:
        checks.owners.clear()


def trace_vectorized(
    estimator: ELBO, model: Program, guide: Program, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[Pair, ...]:
    """Run all particles at once, under a plate to the left of the programs' own.

    Raises:
        ValueError: naming the plate that does not fit into a stated ``max_plate_nesting``.
    """
    nesting = estimator.max_plate_nesting
    if not math.isinf(nesting):
        return _trace_under_plate(estimator, int(nesting), model, guide, args, kwargs)
    try:
        return _trace_under_plate(estimator, analyse(model, guide, *args, **kwargs).nesting, model, guide, args, kwargs)
    except NestingError:
        # What was found for these programs earlier holds no more: something that they read has changed since.
        forget(model, guide, *args, **kwargs)
    return _trace_under_plate(estimator, analyse(model, guide, *args, **kwargs).nesting, model, guide, args, kwargs)


def _trace_under_plate(
    estimator: ELBO, nesting: int, model: Program, guide: Program, args: tuple[Any, ...], kwargs: Mapping[str, Any]
) -> tuple[Pair, ...]:
    particles = plate(PARTICLES, estimator.num_particles, dim=-(nesting + 1))
    guard = NestingGuard(type(estimator).__name__, nesting)
    return estimator.trace_particle(model, guide, args, kwargs, (particles, guard))


class NestingError(ValueError):
    """Plates take more dims than were left for them."""


@final
class NestingGuard(Messenger):
    """Refuses a plate to the left of the particles: its elements would be taken for particles, or the reverse."""

    def __init__(self, estimator: str, nesting: int) -> None:
        self._estimator = estimator
        self._nesting = nesting

    def postprocess_plate(self, site: Site) -> None:
        """Look at the dim that a plate has got."""
        dim = None if site.value is None else site.value.dim
        if dim is not None and dim < -self._nesting:
            raise NestingError(
                f"plate {site.name!r} needs more than the {self._nesting} tensor dims that "
                f"{self._estimator}(max_plate_nesting={self._nesting}) leaves to plates; particles and enumerated "
                f"sites take the dims left of them: state a larger max_plate_nesting, or leave it out"
            )


@final
class SharedSubsample(Messenger):
    """Gives every plate the indices that it had in earlier runs; a fresh subsample per particle biases bounds."""

    def __init__(self, traces: Iterable[Trace]) -> None:
        self._indices = {
            name: site.value for trace in traces for name, site in trace.nodes.items() if site.type == "subsample"
        }

    def process_subsample(self, site: Site) -> None:
        """Set the indices where the plate does not state its own."""
        if site.value is None and site.name in self._indices:
            site.value = self._indices[site.name]
            site.done = True
