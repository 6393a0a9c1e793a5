"""Fix parameters to given values."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar, final, overload

from torch import Tensor

from aleator.handlers.arguments import settle_arguments
from aleator.handlers.naming import matching_key, warn_unmatched
from aleator.messenger import Messenger
from aleator.observations import as_observation
from aleator.sites import Site

__all__ = ["SubstituteMessenger", "substitute"]

P = ParamSpec("P")
R = TypeVar("R")

Values = Mapping[str, Tensor | float]


@final
class SubstituteMessenger(Messenger):
    """Give named parameters their values; the store is neither read nor written for them."""

    def __init__(self, data: Values) -> None:
        if not isinstance(data, Mapping):
            raise TypeError(f"substitute expects values by parameter name, but found {type(data).__name__}")
        self.data = data
        self.met: set[str] = set()
        self.matched: set[str] = set()

    def begin(self) -> SubstituteMessenger:
        """Return a handler of the same values that has met no parameter."""
        return SubstituteMessenger(self.data)

    def process_param(self, site: Site) -> None:
        """Set the value where the name matches."""
        self.met.add(site.name)
        key = matching_key(site.name, self.data)
        if key is not None:
            self.matched.add(key)
            site.value = as_observation(self.data[key])
            site.done = True

    def end(self) -> None:
        """Warn about names that no parameter had."""
        warn_unmatched("substitute", self.data, self.matched, self.met)


@overload
def substitute(fn: Values | None = None, data: Values | None = None) -> SubstituteMessenger: ...
@overload
def substitute(fn: Callable[P, R], data: Values) -> Callable[P, R]: ...
def substitute(fn: Any = None, data: Values | None = None) -> Any:
    """Fix named parameters to given values.

    Args:
        fn: the function to handle.
        data: constrained values by name; a module's parameter also answers to the part of its name after ``$$$``.

    Warns:
        AleatorWarning: a name that no parameter of the run has.

    Example:
        >>> import torch, aleator
        >>> from aleator import handlers
        >>> def model():
        ...     return aleator.param("a", torch.tensor(0.5))
        >>> handlers.substitute(model, data={"a": torch.tensor(0.3)})()
        tensor(0.3000)
    """
    program, given = settle_arguments("substitute", fn, data, "data")
    messenger = SubstituteMessenger(given)
    return messenger if program is None else messenger(program)
