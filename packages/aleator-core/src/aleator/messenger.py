"""The base of every handler: a context manager and decorator that sees the sites of the program under it."""

from __future__ import annotations

import inspect
from abc import ABC
from collections.abc import Callable
from contextlib import AbstractContextManager
from functools import partial, update_wrapper, wraps
from typing import TYPE_CHECKING, Any, ClassVar, Generic, ParamSpec, TypeVar, cast, final

from aleator.runtime import RUN, STACK, Run
from aleator.sites import Site

if TYPE_CHECKING:
    from types import TracebackType

__all__ = ["Handled", "Messenger", "handled"]

P = ParamSpec("P")
R = TypeVar("R")

_TYPES = ("sample", "param", "subsample", "plate", "markov")


class Messenger(ABC):  # noqa: B024  # which methods a handler has says what it handles: none is required
    """A handler of sites: abstract, made concrete by methods ``process_<type>`` and ``postprocess_<type>``.

    Types are ``sample``, ``param``, ``subsample``, ``plate`` and ``markov``. A site is processed from the innermost
    handler outward, and postprocessed from the outermost that saw it inward. A handler reads and writes the site's
    fields; ``site.stop = True`` hides the site from the handlers further out.

    Example:
        >>> import torch, aleator
        >>> import aleator.distributions as dist
        >>> from aleator.handlers import Messenger
        >>> class Halve(Messenger):
        ...     def postprocess_sample(self, site):
        ...         site.value = site.value / 2
        >>> with Halve():
        ...     aleator.sample("x", dist.Delta(torch.tensor(3.0)))
        tensor(1.5000)
    """

    process_table: ClassVar[dict[str, Callable[[Any, Site], None]]] = {}
    postprocess_table: ClassVar[dict[str, Callable[[Any, Site], None]]] = {}

    def __init_subclass__(cls, **kwargs: Any) -> None:  # noqa: ANN401  # whatever a subclass passes on
        super().__init_subclass__(**kwargs)
        cls.process_table = _table(cls, "process_")
        cls.postprocess_table = _table(cls, "postprocess_")

    def __init__(self) -> None:
        if type(self) is Messenger:
            raise TypeError("Messenger is abstract: subclass it and override process_<type> or postprocess_<type>")

    opens_run: ClassVar[bool] = True
    origin: Messenger | None = None

    def begin(self) -> Messenger:
        """Return what stands on the stack for one entry: the handler itself, where it keeps no notes of a run.

        A handler that does returns a new one for each entry, so that threads, tasks, recursion and the next run, which
        all may use one object, never meet in it.
        """
        return self

    def end(self) -> None:  # noqa: B027  # nothing to look back on is a good answer
        """Look back on an entry that ended without an exception; called on what ``begin`` returned."""

    def is_abandoned(self) -> bool:
        """Tell whether this handler was left on the stack by a loop that an exception cut off."""
        return False

    def __enter__(self) -> Any:  # noqa: ANN401  # a subclass may hand out something else (trace: its Trace)
        """Put the handler on the context's stack; the outermost one opens a run."""
        entry = self.begin()
        if entry is not self:
            entry.origin = self
        stack = STACK.get()
        if stack and stack[0].is_abandoned():
            stack = ()
        if not stack and self.opens_run and RUN.get() is None:
            Run(owner=entry).__enter__()
        STACK.set((*stack, entry))
        return entry

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool | None:
        """Take the handler, and whatever an exception left above it, off the stack; close the run it opened."""
        stack = STACK.get()
        for index in range(len(stack) - 1, -1, -1):
            entry = stack[index]
            if entry is self or entry.origin is self:
                STACK.set(stack[:index])
                if index == 0:
                    run = RUN.get()
                    if run is not None and run.owner is entry:
                        run.__exit__(kind, error, traceback)
                if kind is None:
                    entry.end()
                break
        return None

    def __call__(self, fn: Callable[P, R]) -> Callable[P, R]:
        """Return a function that runs ``fn`` under this handler."""
        return handled(self, fn)


def handled(messenger: AbstractContextManager[Any], fn: Callable[P, R]) -> Callable[P, R]:
    """Return a function, or a coroutine function, that runs ``fn`` inside a handler."""
    if inspect.iscoroutinefunction(fn):

        @wraps(fn)
        async def run_coroutine(*args: P.args, **kwargs: P.kwargs) -> Any:  # noqa: ANN401  # fn's own result
            with messenger:
                return await fn(*args, **kwargs)

        return cast("Callable[P, R]", run_coroutine)
    return Handled(messenger, fn)


@final
class Handled(Generic[P, R]):
    """A function under a handler: calling it runs the function with the handler on the stack."""

    def __init__(self, messenger: AbstractContextManager[Any], fn: Callable[P, R]) -> None:
        if not callable(fn):
            raise TypeError(f"{type(messenger).__name__} expects a function to handle, but found {fn!r}")
        self.messenger = messenger
        self.fn = fn
        update_wrapper(self, fn, updated=())  # not fn's attributes: a handled fn has these two of its own

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Run the function under the handler."""
        with self.messenger:
            return self.fn(*args, **kwargs)

    def __get__(self, instance: object, owner: type | None = None) -> Any:  # noqa: ANN401  # a bound method
        return self if instance is None else partial(cast("Callable[..., R]", self), instance)


def _table(cls: type, prefix: str) -> dict[str, Callable[[Any, Site], None]]:
    """Look up once per class which types it handles, so that a site costs one dictionary look-up per handler."""
    found = {kind: getattr(cls, prefix + kind, None) for kind in _TYPES}
    unknown = [
        name
        for name in vars(cls)
        if name.startswith(prefix) and name != prefix + "table" and name[len(prefix) :] not in _TYPES
    ]
    if unknown:
        raise TypeError(f"{cls.__name__}.{unknown[0]}: sites have the types {', '.join(_TYPES)}")
    return {kind: method for kind, method in found.items() if method is not None}
