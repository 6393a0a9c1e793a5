"""Make latent sites observed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar, final, overload

from aleator.errors import UnsupportedModelError
from aleator.handlers.arguments import settle_arguments
from aleator.handlers.naming import warn_unmatched
from aleator.messenger import Messenger
from aleator.observations import as_observation
from aleator.scoring import is_deterministic
from aleator.sites import Site
from aleator.trace import Trace

__all__ = ["ConditionMessenger", "condition"]

P = ParamSpec("P")
R = TypeVar("R")

Data = Mapping[str, Any] | Trace


@final
class ConditionMessenger(Messenger):
    """Observe given data at named sites."""

    def __init__(self, data: Data) -> None:
        if not isinstance(data, (Mapping, Trace)):
            raise TypeError(f"condition expects data by site name, or a Trace, but found {type(data).__name__}")
        self.data = data
        self.values: Mapping[str, Any] = data if isinstance(data, Mapping) else _values_of(data)
        self.minibatches: Mapping[str, Site] = {} if isinstance(data, Mapping) else data.nodes
        self.met: set[str] = set()

    def begin(self) -> ConditionMessenger:
        """Return a handler of the same data that has met no site."""
        return ConditionMessenger(self.data)

    def process_sample(self, site: Site) -> None:
        """Observe the site's data where there are some; ``None`` leaves the site as it is."""
        name = site.name
        self.met.add(name)
        value = self.values.get(name)
        if value is None:
            return
        if is_deterministic(site):
            if self.minibatches:
                return
            raise UnsupportedModelError(
                f"condition: site {name!r} is deterministic, so that data for it say nothing about what it is made "
                f"of; observe what it is made of, or set its value by handlers.do"
            )
        site.value = as_observation(value, site.fn)
        site.is_observed = True
        site.done = True

    def process_subsample(self, site: Site) -> None:
        """Take the trace's minibatch along, unless the plate was given its own: the values belong to its elements."""
        traced = self.minibatches.get(site.name)
        if traced is not None and traced.type == "subsample" and site.value is None:
            site.value = traced.value
            site.done = True

    def end(self) -> None:
        """Warn about names that no site had."""
        given = [name for name, value in self.values.items() if value is not None]
        warn_unmatched("condition", given, self.met, self.met)


def _values_of(trace: Trace) -> dict[str, Any]:
    return {
        name: site.value for name, site in trace.nodes.items() if site.type == "sample" and not is_deterministic(site)
    }


@overload
def condition(fn: Data | None = None, data: Data | None = None) -> ConditionMessenger: ...
@overload
def condition(fn: Callable[P, R], data: Data) -> Callable[P, R]: ...
def condition(fn: Any = None, data: Data | None = None) -> Any:
    """Observe data at named sites, as if the program said ``obs=`` there.

    Args:
        fn: the function to handle.
        data: values by site name; ``None`` leaves a site as it is. A trace gives the values of its sample sites, and
            the minibatches that they belong to.

    Raises:
        UnsupportedModelError: data for a deterministic site.

    Warns:
        AleatorWarning: a name that no site of the run has.

    Example:
        >>> import torch, aleator
        >>> import aleator.distributions as dist
        >>> from aleator import handlers
        >>> def model():
        ...     return aleator.sample("x", dist.Normal(0.0, 1.0))
        >>> handlers.condition(model, data={"x": torch.tensor(2.0)})()
        tensor(2.)
    """
    program, given = settle_arguments("condition", fn, data, "data")
    messenger = ConditionMessenger(given)
    return messenger if program is None else messenger(program)
