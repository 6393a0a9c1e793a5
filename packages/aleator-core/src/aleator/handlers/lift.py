"""Put priors on parameters."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar, final, overload

from torch import Tensor
from torch.distributions import Distribution, constraints
from torch.distributions.constraints import Constraint

from aleator import settings, validation
from aleator.errors import UnsupportedModelError
from aleator.handlers.arguments import settle_arguments
from aleator.handlers.naming import matching_key, warn_unmatched
from aleator.messenger import Messenger
from aleator.observations import check_observed
from aleator.params import current_store
from aleator.sites import Site
from aleator.trace import REREAD

__all__ = ["LiftMessenger", "lift"]

P = ParamSpec("P")
R = TypeVar("R")

Prior = Distribution | Callable[..., Any]
Priors = Prior | Mapping[str, Prior]


@final
class LiftMessenger(Messenger):
    """Turn parameters into sample sites; within one entry each is drawn once, however often it is read."""

    def __init__(self, prior: Priors) -> None:
        if not isinstance(prior, (Mapping, Distribution)) and not callable(prior):
            raise TypeError(f"lift expects a distribution, a function or a mapping, but found {type(prior).__name__}")
        self.prior = prior
        self.met: set[str] = set()
        self.matched: set[str] = set()
        self.lifted: dict[str, Site] = {}
        self.promised: dict[str, Constraint] = {}

    def begin(self) -> LiftMessenger:
        """Return a handler of the same priors that has drawn nothing."""
        return LiftMessenger(self.prior)

    def process_param(self, site: Site) -> None:
        """Make the parameter a sample site, or give it the value that was drawn for it before."""
        prior = self._prior_of(site.name)
        if prior is None:
            return
        drawn = self.lifted.get(site.name)
        if drawn is not None:
            _read_again(site, drawn)
        elif isinstance(prior, Distribution):
            constraint = _constraint_of(site)
            if constraint is not None and settings.get().validate:
                _check_bounds(site.name, prior, constraint)
                self.promised[site.name] = constraint
            self.lifted[site.name] = site
            site.type = "sample"
            site.fn, site.args, site.kwargs = prior, (), None
        else:
            site.fn, site.args = prior, site.args[1:]
            site.stop = True

    def postprocess_sample(self, site: Site) -> None:
        """Check what was drawn, or observed, where the parameter could lie."""
        constraint = self.promised.pop(site.name, None)
        if constraint is None or self.lifted.get(site.name) is not site:
            return
        if site.is_observed:
            check_observed(site)
        if isinstance(site.value, Tensor):
            validation.check_arguments(self, ((f"prior of parameter {site.name!r}", constraint, site.value),))

    def _prior_of(self, name: str) -> Prior | None:
        self.met.add(name)
        if not isinstance(self.prior, Mapping):
            return self.prior
        key = matching_key(name, self.prior)
        if key is None:
            return None
        self.matched.add(key)
        return self.prior[key]

    def end(self) -> None:
        """Warn about priors that no parameter had."""
        if isinstance(self.prior, Mapping):
            warn_unmatched("lift", self.prior, self.matched, self.met)


def _read_again(site: Site, drawn: Site) -> None:
    """Hand out the value once more: hidden further out, and further in marked as no new draw."""
    site.type = "sample"
    site.fn, site.args, site.kwargs = drawn.fn, (), None
    site.value, site.is_observed, site.frames = drawn.value, drawn.is_observed, drawn.frames
    site.stash[REREAD] = True
    site.done = site.stop = True


def _constraint_of(site: Site) -> Constraint | None:
    """The constraint of a parameter: as the program states it, else as the store has it."""
    stated: Constraint | None = (site.kwargs or {}).get("constraint")
    store = current_store()
    return stated if stated is not None or site.name not in store else store.constraint(site.name)


def _check_bounds(name: str, prior: Distribution, constraint: Constraint) -> None:
    """Compare the ends of the intervals, where they are plain numbers; what is drawn is checked in any case.

    Raises:
        UnsupportedModelError: the prior can draw values that the parameter cannot have.
    """
    try:
        support = prior.support
    except (NotImplementedError, AttributeError):
        return
    own, allowed = _bounds(support), _bounds(constraint)
    if own is not None and allowed is not None and (own[0] < allowed[0] or own[1] > allowed[1]):
        raise UnsupportedModelError(
            f"lift: parameter {name!r} lies in {constraint}, but its prior {type(prior).__name__} draws from "
            f"{support}; give it a prior on that set, or the parameter another constraint"
        )


def _bounds(constraint: Constraint | None) -> tuple[float, float] | None:
    """The ends of an interval of numbers; ``None`` for any other set, and where an end is a tensor."""
    while isinstance(constraint, constraints.independent):
        constraint = constraint.base_constraint
    if constraint is constraints.real or constraint is constraints.real_vector:
        return float("-inf"), float("inf")
    if not (hasattr(constraint, "lower_bound") or hasattr(constraint, "upper_bound")):
        return None
    ends = getattr(constraint, "lower_bound", float("-inf")), getattr(constraint, "upper_bound", float("inf"))
    return None if any(isinstance(end, Tensor) for end in ends) else ends


@overload
def lift(fn: Mapping[str, Prior] | None = None, prior: Priors | None = None) -> LiftMessenger: ...
@overload
def lift(fn: Callable[P, R], prior: Priors) -> Callable[P, R]: ...
def lift(fn: Any = None, prior: Priors | None = None) -> Any:
    """Replace parameters by draws from priors, as if the program said ``sample(name, prior)`` where it says ``param``.

    Args:
        fn: the function to handle.
        prior: a distribution for every parameter; or a mapping of names, where a module's parameter also answers to the
            part of its name after ``$$$``; or a function that is called with ``init``, ``constraint`` and ``event_dim``
            and gives the value, in which case the parameter itself is hidden.

    Raises:
        UnsupportedModelError: a prior that can draw values outside the parameter's constraint.
        ParameterError: at the end of the run, a draw outside the constraint where this could not be told before.

    Warns:
        AleatorWarning: a name that no parameter of the run has.

    Example:
        >>> import torch, aleator
        >>> import aleator.distributions as dist
        >>> from aleator import handlers
        >>> def model():
        ...     return aleator.param("rate", torch.tensor(0.5), constraint=dist.constraints.positive)
        >>> lifted = handlers.lift(model, prior={"rate": dist.Gamma(1.0, 1.0)})
        >>> handlers.trace(lifted).get_trace().stochastic_nodes
        ['rate']
    """
    program, given = settle_arguments("lift", fn, prior, "prior")
    messenger = LiftMessenger(given)
    return messenger if program is None else messenger(program)
