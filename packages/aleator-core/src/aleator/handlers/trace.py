"""Record what a program does."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import update_wrapper
from typing import Any, Generic, ParamSpec, TypeVar, final, overload

from aleator.messenger import Messenger
from aleator.sites import Site
from aleator.trace import Trace

__all__ = ["TraceHandler", "TraceMessenger", "trace"]

P = ParamSpec("P")
R = TypeVar("R")


@final
class TraceMessenger(Messenger):
    """Append every sample, parameter and subsample site to a trace; each entry begins a new one.

    Attributes:
        trace: the record of the entry that began last.
    """

    def __init__(self, param_only: bool = False) -> None:
        self.param_only = param_only
        self.trace = Trace()

    def begin(self) -> TraceMessenger:
        """Return a recorder with an empty trace."""
        entry = TraceMessenger(self.param_only)
        self.trace = entry.trace
        return entry

    def __enter__(self) -> Trace:
        """Begin a new trace, and return it."""
        entry: TraceMessenger = super().__enter__()
        return entry.trace

    def postprocess_sample(self, site: Site) -> None:
        """Record the site as it ended."""
        if not self.param_only:
            self.trace.add(site)

    postprocess_subsample = postprocess_sample

    def postprocess_param(self, site: Site) -> None:
        """Record a parameter; reading it again adds nothing."""
        self.trace.add(site)

    def __call__(self, fn: Callable[P, R]) -> TraceHandler[P, R]:
        """Return the function with ``get_trace`` beside it."""
        return TraceHandler(self, fn)


@final
class TraceHandler(Generic[P, R]):
    """A function that records each of its runs.

    Attributes:
        trace: the record of the last call.
    """

    def __init__(self, messenger: TraceMessenger, fn: Callable[P, R]) -> None:
        if not callable(fn):
            raise TypeError(f"trace expects a function, but found {type(fn).__name__}")
        if inspect.iscoroutinefunction(fn):
            raise TypeError("trace expects a plain function; inside a coroutine write: with handlers.trace() as t")
        self.messenger = messenger
        self.fn = fn
        update_wrapper(self, fn, updated=())  # not fn's attributes: a handled fn has these two of its own

    @property
    def trace(self) -> Trace:
        """The record of the last call."""
        return self.messenger.trace

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function, and return what it returns."""
        with self.messenger as trace:
            return self._record(trace, args, kwargs)

    def get_trace(self, *args: P.args, **kwargs: P.kwargs) -> Trace:
        """Run the function and return the record of the run.

        Raises:
            Exception: what the function raises, with the shapes up to there as a note.
        """
        with self.messenger as trace:
            try:
                self._record(trace, args, kwargs)
            except Exception as error:
                error.add_note(trace.format_shapes())
                raise
        return trace

    def _record(self, trace: Trace, args: tuple[Any, ...], kwargs: dict[str, Any]) -> R:
        # Inputs are put in at once, so that they come first; the two names are no site's.
        trace.nodes["_INPUT"] = Site("args", "_INPUT", args=args, kwargs=kwargs)
        result = self.fn(*args, **kwargs)
        trace.nodes["_RETURN"] = Site("return", "_RETURN", value=result)
        return result


@overload
def trace(fn: None = None, *, param_only: bool = False) -> TraceMessenger: ...
@overload
def trace(fn: Callable[P, R], *, param_only: bool = False) -> TraceHandler[P, R]: ...
def trace(fn: Callable[..., Any] | None = None, *, param_only: bool = False) -> Any:
    """Record a program's sites: ``with trace() as t:``, or ``trace(fn).get_trace(*args)``.

    Args:
        fn: the function to record.
        param_only: record parameters only.

    Raises:
        ValueError: two sample sites of one name in one run.

    Example:
        >>> import aleator
        >>> import aleator.distributions as dist
        >>> from aleator import handlers
        >>> with handlers.trace() as t:
        ...     x = aleator.sample("x", dist.Normal(0.0, 1.0))
        >>> t.nodes["x"].value is x
        True
    """
    messenger = TraceMessenger(param_only)
    return messenger if fn is None else messenger(fn)
