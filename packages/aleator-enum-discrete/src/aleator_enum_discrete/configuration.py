"""Mark the discrete sites of a program for enumeration."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, ParamSpec, TypeVar, overload

from aleator.handlers.infer_config import InferConfigMessenger
from aleator.sites import Site

__all__ = ["config_enumerate"]

P = ParamSpec("P")
R = TypeVar("R")


@overload
def config_enumerate(
    guide: None = None, default: str | None = "parallel", expand: bool = False, num_samples: int | None = None
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...
@overload
def config_enumerate(
    guide: Callable[P, R], default: str | None = "parallel", expand: bool = False, num_samples: int | None = None
) -> Callable[P, R]: ...
def config_enumerate(
    guide: Callable[..., Any] | None = None,
    default: str | None = "parallel",
    expand: bool = False,
    num_samples: int | None = None,
) -> Any:
    """Mark every latent site whose values can be listed for enumeration, unless it has a mark of its own.

    Works on models and guides, and as a decorator with or without arguments.

    Args:
        guide: the program.
        default: ``"parallel"``, every value along a tensor dim; ``"sequential"``, one run for each value, in a guide;
            ``None``, no mark.
        expand: give the values the full batch shape of their site, not dims of size 1.
        num_samples: take so many draws in place of all values; sites that are not discrete are then marked too.

    Raises:
        ValueError: naming the argument that is none of these.

    Example:
        >>> import aleator
        >>> import aleator.distributions as dist
        >>> from aleator import handlers
        >>> from aleator.infer import config_enumerate
        >>> @config_enumerate
        ... def model():
        ...     aleator.sample("z", dist.Bernoulli(0.5))
        >>> handlers.trace(model).get_trace().nodes["z"].infer["enumerate"]
        'parallel'
    """
    if default not in ("parallel", "sequential", None):
        raise ValueError(f"config_enumerate: default must be 'parallel', 'sequential' or None, but is {default!r}")
    if not isinstance(expand, bool):
        raise ValueError(f"config_enumerate: expand must be True or False, but is {expand!r}")
    if num_samples is not None:
        if isinstance(num_samples, bool) or not isinstance(num_samples, int) or num_samples < 1:
            raise ValueError(f"config_enumerate: num_samples must be a positive int or None, but is {num_samples!r}")
        if default == "sequential":
            raise ValueError('config_enumerate: num_samples are drawn along a dim; use default="parallel"')
    if guide is None:
        return partial(config_enumerate, default=default, expand=expand, num_samples=num_samples)
    options = {"enumerate": default, "expand": expand, "num_samples": num_samples}

    def options_of(site: Site) -> dict[str, Any] | None:
        if default is None or site.type != "sample" or site.is_observed or "enumerate" in site.infer:
            return None
        if num_samples is None and not getattr(site.fn, "has_enumerate_support", False):
            return None
        return {key: value for key, value in options.items() if key not in site.infer and value is not None}

    return InferConfigMessenger(options_of)(guide)
