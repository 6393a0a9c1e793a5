"""Draw the value of a sample site."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import distributions as torch_distributions

from aleator import randomness
from aleator.distributions import Distribution

__all__ = ["draw"]


def draw(fn: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None) -> Any:  # noqa: ANN401  # whatever fn draws
    """Draw from a distribution with the context's source of randomness, keeping the gradient where there is one.

    Plain torch distributions know only torch's process generator; they draw while its state is swapped for the
    context's. Anything else is called.
    """
    if isinstance(fn, Distribution):
        if args or kwargs:
            return fn(*args, **(kwargs or {}))
        return fn.rsample() if fn.has_rsample else fn.sample()
    if isinstance(fn, torch_distributions.Distribution):
        with randomness.foreign_draw():
            draw_method = fn.rsample if fn.has_rsample else fn.sample
            return draw_method(*args, **(kwargs or {}))
    if callable(fn):
        return fn(*args, **(kwargs or {}))
    raise TypeError(
        f"sample expects a distribution (or a callable with log_prob), but found {type(fn).__name__}; "
        f"for a fixed value use aleator.deterministic, for a log weight aleator.factor"
    )
