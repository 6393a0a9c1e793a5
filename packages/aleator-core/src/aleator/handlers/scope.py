"""Put a prefix before the names of a program's sites."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any, ParamSpec, TypeVar, final, overload

from aleator.handlers.arguments import settle_arguments
from aleator.messenger import Messenger
from aleator.runtime import STACK
from aleator.sites import Site

__all__ = ["ScopeMessenger", "scope", "scoped_parameter"]

P = ParamSpec("P")
R = TypeVar("R")


@final
class ScopeMessenger(Messenger):
    """Rename ``x`` to ``<prefix>/x``: sample sites, parameters and plates."""

    def __init__(self, prefix: str, divider: str = "/", hide_types: Collection[str] = ()) -> None:
        if not isinstance(prefix, str):
            raise TypeError(f"scope expects a prefix of type str, but found {type(prefix).__name__}")
        self.start = prefix + divider
        self.hide_types = frozenset(hide_types)

    def process_sample(self, site: Site) -> None:
        """Put the prefix before the name; a plate takes the name of its ``subsample`` site."""
        if site.type not in self.hide_types:
            site.name = self.start + site.name

    process_subsample = process_sample

    def process_param(self, site: Site) -> None:
        """Put the prefix before the name, under which the store then has it too."""
        if "param" not in self.hide_types:
            site.name = self.start + site.name
            site.args = (site.name, *site.args[1:])


def scoped_parameter(name: str) -> str:
    """Return the name that a parameter of this name would have here: what belongs to one goes by it too."""
    for handler in reversed(STACK.get()):
        if type(handler) is ScopeMessenger and "param" not in handler.hide_types:
            name = handler.start + name
    return name


@overload
def scope(
    fn: str | None = None, prefix: str | None = None, divider: str = "/", hide_types: Collection[str] = ()
) -> ScopeMessenger: ...
@overload
def scope(fn: Callable[P, R], prefix: str, divider: str = "/", hide_types: Collection[str] = ()) -> Callable[P, R]: ...
def scope(fn: Any = None, prefix: str | None = None, divider: str = "/", hide_types: Collection[str] = ()) -> Any:
    """Put a prefix before the names of sample sites, parameters and plates: one program can then run twice in another.

    Args:
        fn: the function to handle.
        prefix: what comes before the names.
        divider: what stands between prefix and name.
        hide_types: types of sites that keep their names (``["param"]``: the runs share their parameters).

    Example:
        >>> import aleator
        >>> import aleator.distributions as dist
        >>> from aleator import handlers
        >>> def part():
        ...     return aleator.sample("x", dist.Normal(0.0, 1.0))
        >>> def model():
        ...     return handlers.scope(part, prefix="left")() + handlers.scope(part, prefix="right")()
        >>> handlers.trace(model).get_trace().stochastic_nodes
        ['left/x', 'right/x']
    """
    program, given = settle_arguments("scope", fn, prefix, "prefix")
    messenger = ScopeMessenger(given, divider, hide_types)
    return messenger if program is None else messenger(program)
