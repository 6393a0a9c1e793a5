"""Set options for algorithms from outside a program."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar, final, overload

from aleator.handlers.arguments import settle_arguments
from aleator.messenger import Messenger
from aleator.plugins.infer_keys import KEYS_KNOWN_TO_CORE, warn_unknown_infer_key
from aleator.sites import Site

__all__ = ["InferConfigMessenger", "check_infer_keys", "infer_config"]

P = ParamSpec("P")
R = TypeVar("R")

Configuration = Callable[[Site], Mapping[str, Any] | None]


def check_infer_keys(name: str, infer: Mapping[str, Any]) -> None:
    """Warn once for each key of a site's ``infer`` that nobody reads."""
    for key in infer:
        if key not in KEYS_KNOWN_TO_CORE:
            warn_unknown_infer_key(name, key)


@final
class InferConfigMessenger(Messenger):
    """Put options into the ``infer`` of sample and parameter sites."""

    def __init__(self, config_fn: Configuration) -> None:
        if not callable(config_fn):
            raise TypeError(f"infer_config expects a function of a site, but found {type(config_fn).__name__}")
        self.config_fn = config_fn

    def process_sample(self, site: Site) -> None:
        """Join the function's options to the site's; where both have a key, the function's counts."""
        options = self.config_fn(site)
        if options:
            check_infer_keys(site.name, options)
            site.infer = {**site.infer, **options}

    process_param = process_sample


@overload
def infer_config(fn: None = None, *, config_fn: Configuration) -> InferConfigMessenger: ...
@overload
def infer_config(fn: Callable[P, R], config_fn: Configuration) -> Callable[P, R]: ...
def infer_config(fn: Callable[..., Any] | None = None, config_fn: Configuration | None = None) -> Any:
    """Set the ``infer`` options of sites by a function.

    Args:
        fn: the function to handle.
        config_fn: called with each sample and parameter site; gives the options to add, or ``None``.

    Warns:
        AleatorWarning: an option that nobody reads, with the nearest known one.

    Example:
        >>> import aleator
        >>> import aleator.distributions as dist
        >>> from aleator import handlers
        >>> def guide():
        ...     aleator.sample("x", dist.Normal(0.0, 1.0))
        >>> marked = handlers.infer_config(guide, config_fn=lambda site: {"is_auxiliary": True})
        >>> handlers.trace(marked).get_trace().nodes["x"].infer
        {'is_auxiliary': True}
    """
    program, given = settle_arguments("infer_config", fn, config_fn, "config_fn")
    messenger = InferConfigMessenger(given)
    return messenger if program is None else messenger(program)
