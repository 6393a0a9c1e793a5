"""Put values at a program's latent sites."""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

from torch import Tensor

from aleator.messenger import Messenger
from aleator.sites import Site

__all__ = ["GivenValues"]


@final
class GivenValues(Messenger):
    """Give latent sites, and minibatches that a plate would draw, the values that a mapping has for them.

    Sites stay latent; observed ones keep their data.

    Args:
        values: by site.
        minibatches: by plate.

    Example:
        >>> import torch, aleator
        >>> import aleator.distributions as dist
        >>> from aleator_posterior.given_values import GivenValues
        >>> with GivenValues({"z": torch.tensor(3.0)}):
        ...     aleator.sample("z", dist.Normal(0.0, 1.0))
        tensor(3.)
    """

    def __init__(self, values: Mapping[str, Tensor], minibatches: Mapping[str, Tensor] | None = None) -> None:
        self._values = values
        self._minibatches = {} if minibatches is None else minibatches

    def process_sample(self, site: Site) -> None:
        """Take the given value where the site has none."""
        if site.value is None and site.name in self._values:
            site.value = self._values[site.name]
            site.done = True

    def postprocess_sample(self, site: Site) -> None:
        """Refuse a value that does not fit the site, plates included.

        Raises:
            ValueError: naming the site.
        """
        if site.name not in self._values or site.is_observed or not hasattr(site.fn, "event_shape"):
            return
        expected, found = (*site.fn.batch_shape, *site.fn.event_shape), site.value.shape
        if found != expected and not _broadcasts(tuple(found), tuple(expected)):
            raise ValueError(
                f"site {site.name!r} draws values of shape {tuple(expected)}, but was given one of shape {tuple(found)}"
            )

    def process_subsample(self, site: Site) -> None:
        """Take the given minibatch where the plate states none."""
        if site.value is None and site.name in self._minibatches:
            site.value = self._minibatches[site.name]
            site.done = True


def _broadcasts(found: tuple[int, ...], expected: tuple[int, ...]) -> bool:
    """Whether one shape broadcasts to another without widening it."""
    if len(found) > len(expected):
        return False
    return all(size in (1, other) for size, other in zip(reversed(found), reversed(expected), strict=False))
