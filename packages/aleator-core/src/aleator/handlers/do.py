"""Intervene: set the value that the program goes on with, and leave the site's own draw alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar, final, overload

from aleator.errors import AleatorWarning
from aleator.handlers.arguments import settle_arguments
from aleator.handlers.naming import warn_unmatched
from aleator.messenger import Messenger
from aleator.observations import as_observation
from aleator.plugins.attribution import warn_caller
from aleator.runtime import STACK, apply_stack
from aleator.sites import Site
from aleator.stash import StashKey

__all__ = ["DoMessenger", "do"]

P = ParamSpec("P")
R = TypeVar("R")

_INTERVENED: StashKey[bool] = StashKey("intervened")


@final
class DoMessenger(Messenger):
    """Split each named site in two: its own draw, which nothing depends on, and ``<name>__CF`` with the given value."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        if not isinstance(data, Mapping):
            raise TypeError(f"do expects values by site name, but found {type(data).__name__}")
        self.data = data
        self.met: set[str] = set()

    def begin(self) -> DoMessenger:
        """Return a handler of the same values that has met no site."""
        return DoMessenger(self.data)

    def process_sample(self, site: Site) -> None:
        """Send the site's own draw outward, then turn the site into the intervened copy."""
        name = site.name
        self.met.add(name)
        value = self.data.get(name)
        if value is None:
            return
        if _INTERVENED in site.stash:
            warn_caller(
                f"do: site {name!r} is intervened on by another do further in, whose value the program goes on with; "
                f"this one has no effect",
                AleatorWarning,
            )
            return
        site.stash[_INTERVENED] = True
        self._draw_outside(site.copy())
        site.name = f"{name}__CF"
        site.value = as_observation(value, site.fn)
        site.is_observed = site.done = site.stop = True

    def _draw_outside(self, own: Site) -> None:
        """Send the site's own draw through the handlers further out; those further in have seen it already."""
        stack = STACK.get()
        position = stack.index(self)
        STACK.set(stack[:position])
        try:
            apply_stack(own)
        finally:
            STACK.set(stack)
        for handler in stack[position + 1 :]:
            postprocess = handler.postprocess_table.get(own.type)
            if postprocess is not None:
                postprocess(handler, own)

    def end(self) -> None:
        """Warn about names that no site had."""
        given = [name for name, value in self.data.items() if value is not None]
        warn_unmatched("do", given, self.met, self.met)


@overload
def do(fn: Mapping[str, Any] | None = None, data: Mapping[str, Any] | None = None) -> DoMessenger: ...
@overload
def do(fn: Callable[P, R], data: Mapping[str, Any]) -> Callable[P, R]: ...
def do(fn: Any = None, data: Mapping[str, Any] | None = None) -> Any:
    """Intervene at named sites: the program goes on with the given values, as if it had assigned them.

    The site itself stays, as a fresh draw that nothing depends on; beside it a site ``<name>__CF`` carries the value,
    hidden from the handlers further out. With ``condition`` outside, on the same name, this is a counterfactual: the
    data inform the draw, the program goes on with the intervention (single-world intervention graphs, Richardson and
    Robins 2013).

    Args:
        fn: the function to handle.
        data: values by site name; ``None`` leaves a site alone.

    Warns:
        AleatorWarning: a name that no site of the run has; two interventions on one site, of which the inner counts.

    Example:
        >>> import torch, aleator
        >>> import aleator.distributions as dist
        >>> from aleator import handlers
        >>> def model():
        ...     return aleator.sample("x", dist.Normal(0.0, 1.0)) + 1
        >>> handlers.do(model, data={"x": torch.tensor(2.0)})()
        tensor(3.)
    """
    program, given = settle_arguments("do", fn, data, "data")
    messenger = DoMessenger(given)
    return messenger if program is None else messenger(program)
