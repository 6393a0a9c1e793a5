"""The stack of handlers of the current context, the run they make up, and the way of a site through them."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar, Token
from typing import TYPE_CHECKING, Any, final

from aleator.broadcasting import broadcast_to_frames
from aleator.drawing import draw
from aleator.stash import Stash
from aleator.validation import PENDING, PendingChecks

if TYPE_CHECKING:
    from types import TracebackType

    from aleator.messenger import Messenger
    from aleator.sites import Site

__all__ = ["RUN", "STACK", "Run", "apply_stack"]

STACK: ContextVar[tuple[Messenger, ...]] = ContextVar("aleator_stack", default=())
RUN: ContextVar[Run | None] = ContextVar("aleator_run", default=None)


@final
class Run:
    """The extent of one execution of a program: what is reserved, noted and bound in it ends with it.

    The outermost handler opens a run by itself; an estimator or a step opens one around everything that it executes.
    A run inside a run shares the outer one's notes, and adds reserved dims of its own.

    Args:
        owner: the handler that opened this run, and closes it.
        checks: where notes of values to check go; by default the enclosing run's, or, without one, a list of this
            run's own that is evaluated when the run ends without an exception.

    Attributes:
        reserved: dims that no plate may take, with what they are reserved for.
        at_end: what to do when the run ends, the last one first.
        stash: what else belongs to the run, under typed keys.
    """

    __slots__ = ("_check_token", "_own_checks", "_token", "at_end", "checks", "owner", "reserved", "stash")

    def __init__(self, checks: PendingChecks | None = None, owner: Messenger | None = None) -> None:
        self.owner = owner
        self._own_checks = checks is None
        self._token: Token[Run | None] | None = None
        self._check_token: Token[PendingChecks | None] | None = None
        self.checks = checks
        self.reserved: dict[int, str] = {}
        self.at_end: list[Callable[[], None]] = []
        self.stash = Stash()

    def __enter__(self) -> Run:
        outer = RUN.get()
        if outer is not None:
            self.reserved = dict(outer.reserved)
            if self.checks is None:
                self.checks = outer.checks
                self._own_checks = False
        if self.checks is None:
            self.checks = PendingChecks()
        self._token = RUN.set(self)
        self._check_token = PENDING.set(self.checks)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        assert self._token is not None
        assert self._check_token is not None
        assert self.checks is not None
        PENDING.reset(self._check_token)
        RUN.reset(self._token)
        for action in reversed(self.at_end):
            action()
        if error is None and self._own_checks:
            self.checks.raise_if_violated()


def apply_stack(site: Site) -> Any:  # noqa: ANN401  # a site's value has any type
    """Send a site through the handlers and return its value.

    The innermost handler processes the site first, then the next one outward, until one sets ``stop``. Then the value
    is made where no handler gave one, and the handlers that saw the site postprocess it, the outermost first.
    """
    stack = STACK.get()
    kind = site.type
    index = len(stack)
    while index:
        index -= 1
        handler = stack[index]
        process = handler.process_table.get(kind)
        if process is not None:
            process(handler, site)
            if site.stop:
                break
            kind = site.type
    _finish(site)
    for handler in stack[index:]:
        postprocess = handler.postprocess_table.get(kind)
        if postprocess is not None:
            postprocess(handler, site)
    return site.value


def _finish(site: Site) -> None:
    """Widen the distribution to its plates, and make the value where no handler has given one."""
    if site.type == "sample" and site.frames:
        broadcast_to_frames(site)
    if site.value is None and not site.done:
        if site.type == "sample":
            site.value = draw(site.fn, site.args, site.kwargs)
        else:
            site.value = site.fn(*site.args, **(site.kwargs or {}))
    site.done = True
