"""Run a program again on the values of an earlier run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar, final, overload

from torch import Tensor

from aleator.errors import ModelGuideMismatchError
from aleator.handlers.arguments import settle_arguments
from aleator.messenger import Messenger
from aleator.sites import Site
from aleator.trace import Trace

__all__ = ["ReplayMessenger", "replay"]

P = ParamSpec("P")
R = TypeVar("R")


@final
class ReplayMessenger(Messenger):
    """Give sites the values that they have in a trace, where the program and the handlers inside give none."""

    def __init__(self, trace: Trace | None = None, params: Mapping[str, Tensor] | None = None) -> None:
        if trace is not None and not isinstance(trace, Trace):
            raise TypeError(f"replay expects a Trace, but found {type(trace).__name__}; get one by handlers.trace")
        self.nodes: Mapping[str, Site] = {} if trace is None else trace.nodes
        self.params: Mapping[str, Tensor] = {} if params is None else params

    def process_sample(self, site: Site) -> None:
        """Take the traced value, and the traced site's ``infer`` options on top of the site's own."""
        traced = self.nodes.get(site.name)
        if traced is None or site.value is not None:
            return
        if traced.type != "sample" or traced.is_observed:
            kind = "an observed" if traced.type == "sample" else f"a {traced.type}"
            raise ModelGuideMismatchError(
                f"replay: site {site.name!r} is latent here, but {kind} site in the trace to replay; "
                f"sample it there, or observe it here"
            )
        site.value = traced.value
        site.done = True
        if traced.infer:
            site.infer = {**site.infer, **traced.infer}

    def process_subsample(self, site: Site) -> None:
        """Take the traced minibatch, unless the plate was given its own."""
        traced = self.nodes.get(site.name)
        if traced is not None and traced.type == "subsample" and site.value is None:
            site.value = traced.value
            site.done = True

    def process_param(self, site: Site) -> None:
        """Take the given value."""
        if site.value is None and site.name in self.params:
            site.value = self.params[site.name]
            site.done = True


@overload
def replay(
    fn: Trace | None = None, trace: Trace | None = None, params: Mapping[str, Tensor] | None = None
) -> ReplayMessenger: ...
@overload
def replay(
    fn: Callable[P, R], trace: Trace | None = None, params: Mapping[str, Tensor] | None = None
) -> Callable[P, R]: ...
def replay(fn: Any = None, trace: Trace | None = None, params: Mapping[str, Tensor] | None = None) -> Any:
    """Run a program on the values of an earlier run: its latent values, and its minibatches.

    Observed sites keep their data, and a plate that was given its ``subsample`` keeps it. Of ``infer`` options, those
    of the trace join the site's own, and win where both have one: they tell how the value came about.

    Args:
        fn: the function to handle.
        trace: the record to take values from; sites that it lacks are drawn.
        params: values for parameters, constrained, by name.

    Raises:
        ModelGuideMismatchError: a site that is latent here and observed in the trace.

    Example:
        >>> import aleator
        >>> import aleator.distributions as dist
        >>> from aleator import handlers
        >>> def model():
        ...     return aleator.sample("x", dist.Normal(0.0, 1.0))
        >>> earlier = handlers.trace(model).get_trace()
        >>> bool(handlers.replay(model, trace=earlier)() == earlier.nodes["x"].value)
        True
    """
    if trace is None and params is not None and (fn is None or callable(fn)):
        program, messenger = fn, ReplayMessenger(None, params)
    else:
        program, given = settle_arguments("replay", fn, trace, "trace")
        messenger = ReplayMessenger(given, params)
    return messenger if program is None else messenger(program)
