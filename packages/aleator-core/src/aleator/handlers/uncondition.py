"""Draw what was observed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, final, overload

from aleator.distributions import Unit
from aleator.messenger import Messenger
from aleator.scoring import is_deterministic
from aleator.sites import Site

__all__ = ["UnconditionMessenger", "uncondition"]

P = ParamSpec("P")
R = TypeVar("R")


@final
class UnconditionMessenger(Messenger):
    """Make observed sites latent; what was observed is kept in their ``infer``."""

    def process_sample(self, site: Site) -> None:
        """Forget the data; deterministic sites and factors have none."""
        if not site.is_observed or is_deterministic(site) or isinstance(site.fn, Unit):
            return
        site.infer = {**site.infer, "was_observed": True, "obs": site.value}
        site.is_observed = False
        site.value = None
        site.done = False


@overload
def uncondition(fn: None = None) -> UnconditionMessenger: ...
@overload
def uncondition(fn: Callable[P, R]) -> Callable[P, R]: ...
def uncondition(fn: Callable[..., Any] | None = None) -> Any:
    """Draw at sites that are observed, as the prior or posterior predictive distribution wants it.

    The sites' ``infer`` then has ``was_observed`` (True) and ``obs`` (the data). Sites made by ``deterministic`` and
    ``factor`` stay as they are.

    Args:
        fn: the function to handle.

    Example:
        >>> import torch, aleator
        >>> import aleator.distributions as dist
        >>> from aleator import handlers
        >>> def model():
        ...     return aleator.sample("x", dist.Normal(0.0, 1.0), obs=torch.tensor(2.0))
        >>> site = handlers.trace(handlers.uncondition(model)).get_trace().nodes["x"]
        >>> site.is_observed, site.infer["obs"]
        (False, tensor(2.))
    """
    messenger = UnconditionMessenger()
    return messenger if fn is None else messenger(fn)
