"""Leave elements of log-probabilities out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, final, overload

import torch
from torch import Tensor

from aleator.handlers.arguments import settle_arguments
from aleator.messenger import Messenger
from aleator.sites import Site

__all__ = ["MaskMessenger", "mask"]

P = ParamSpec("P")
R = TypeVar("R")


@final
class MaskMessenger(Messenger):
    """Let only the elements count where the mask is True; masks inside masks are joined by "and"."""

    def __init__(self, mask: Tensor | bool) -> None:
        if not isinstance(mask, bool) and getattr(mask, "dtype", None) is not torch.bool:
            found = f"a tensor of {mask.dtype}" if hasattr(mask, "dtype") else type(mask).__name__
            raise ValueError(f"mask expects a bool or a bool tensor over the batch shape, but found {found}")
        self.mask = mask

    def process_sample(self, site: Site) -> None:
        """Join this mask to the site's."""
        site.mask = join_masks(site.mask, self.mask)


def join_masks(inner: Tensor | bool | None, outer: Tensor | bool) -> Tensor | bool | None:
    """Return "both": ``None`` and True are neutral, False wins without touching a tensor."""
    if inner is None or inner is True:
        return outer
    if outer is True or inner is False:
        return inner
    return False if outer is False else inner & outer


@overload
def mask(fn: Tensor | bool | None = None, mask: Tensor | bool | None = None) -> MaskMessenger: ...
@overload
def mask(fn: Callable[P, R], mask: Tensor | bool) -> Callable[P, R]: ...
def mask(fn: Any = None, mask: Tensor | bool | None = None) -> Any:
    """Leave out the elements of log-probabilities where the mask is False.

    Args:
        fn: the function to handle; a mask given in its place makes a context manager.
        mask: a bool, or a bool tensor that broadcasts to the sites' batch shapes; False skips the scoring altogether.

    Raises:
        ValueError: a mask that is not boolean.

    Example:
        >>> import torch, aleator
        >>> import aleator.distributions as dist
        >>> from aleator import handlers
        >>> with handlers.trace() as trace, handlers.mask(mask=torch.tensor([True, False])):
        ...     _ = aleator.sample("x", dist.Normal(torch.zeros(2), 1.0), obs=torch.zeros(2))
        >>> round(float(trace.log_prob_sum()), 4)
        -0.9189
    """
    program, given = settle_arguments("mask", fn, mask, "mask")
    messenger = MaskMessenger(given)
    return messenger if program is None else messenger(program)
