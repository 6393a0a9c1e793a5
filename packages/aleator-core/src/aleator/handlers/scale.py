"""Weigh log-probabilities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, final, overload

from torch import Tensor
from torch.distributions import constraints

from aleator import settings, validation
from aleator.handlers.arguments import settle_arguments
from aleator.messenger import Messenger
from aleator.sites import Site

__all__ = ["ScaleMessenger", "scale"]

P = ParamSpec("P")
R = TypeVar("R")


@final
class ScaleMessenger(Messenger):
    """Multiply the scale of the sites; scales inside scales multiply."""

    def __init__(self, scale: Tensor | float) -> None:
        if isinstance(scale, bool) or not isinstance(scale, (int, float, Tensor)):
            raise TypeError(f"scale expects a positive number or tensor, but found {type(scale).__name__}")
        if not isinstance(scale, Tensor) and not scale > 0:
            raise ValueError(
                f"scale expects a positive number, but found {scale}; to leave sites out use handlers.mask"
            )
        self.scale = scale

    def __enter__(self) -> ScaleMessenger:
        """Note, of a tensor, that it must be positive: the run checks it with everything else at its end."""
        super().__enter__()
        if isinstance(self.scale, Tensor) and settings.get().validate:
            validation.check_arguments(self, (("scale", constraints.positive, self.scale),))
        return self

    def process_sample(self, site: Site) -> None:
        """Multiply this scale into the site's."""
        site.scale = site.scale * self.scale


@overload
def scale(fn: Tensor | float | None = None, scale: Tensor | float | None = None) -> ScaleMessenger: ...
@overload
def scale(fn: Callable[P, R], scale: Tensor | float) -> Callable[P, R]: ...
def scale(fn: Any = None, scale: Tensor | float | None = None) -> Any:
    """Multiply the log-probabilities of the sites, observed or not; a plate's own scale is kept apart.

    Args:
        fn: the function to handle.
        scale: a positive number, or a positive tensor that broadcasts to the sites' batch shapes.

    Raises:
        ValueError: a number that is not positive.
        ParameterError: at the end of the run, a tensor that is not positive.

    Example:
        >>> import torch, aleator
        >>> import aleator.distributions as dist
        >>> from aleator import handlers
        >>> with handlers.trace() as trace, handlers.scale(scale=2.0):
        ...     _ = aleator.sample("x", dist.Normal(0.0, 1.0), obs=torch.tensor(0.0))
        >>> round(float(trace.log_prob_sum()), 4)
        -1.8379
    """
    program, given = settle_arguments("scale", fn, scale, "scale")
    messenger = ScaleMessenger(given)
    return messenger if program is None else messenger(program)
