"""Make each latent value of a run a source of dependence, and note what each site's distribution depends on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor

from aleator.messenger import Messenger
from aleator.scoring import is_deterministic

if TYPE_CHECKING:
    from aleator.infer.dependency import DependencyTracker
    from aleator.sites import Site

__all__ = ["SourceMarker"]


@final
class SourceMarker(Messenger):
    """Makes each latent value a source of its own; it stands outside the program, and inside the trace.

    Attributes:
        parents: for each site, the latent sites on which its distribution depends.
    """

    def __init__(self, tracker: DependencyTracker) -> None:
        self._tracker = tracker
        self._latent: set[str] = set()
        self.parents: dict[str, frozenset[str]] = {}

    def postprocess_sample(self, site: Site) -> None:
        """Note what the distribution depended on, and give the value a memory of its own with its name on it."""
        tracker = self._tracker
        parents = tracker.of(_parameters_of(site.fn))
        # Another value might have led the program to look at other sites here: at any of those before.
        self.parents[site.name] = parents | self._latent if tracker.control else parents
        if site.is_observed or is_deterministic(site):
            return
        self._latent.add(site.name)
        if isinstance(site.value, Tensor):
            site.value = tracker.begin(site.value, site.name)
        else:  # What becomes of it is not seen.
            tracker.control |= {site.name}


_HOLDERS = (torch.distributions.Distribution, torch.distributions.Transform)


def _parameters_of(fn: Any) -> list[Tensor]:  # noqa: ANN401  # any distribution
    """Every tensor that a distribution, its bases and its transforms hold."""
    found: list[Tensor] = []
    seen: set[int] = set()
    pending = [fn]
    while pending:
        item = pending.pop()
        if isinstance(item, Tensor):
            found.append(item)
        elif isinstance(item, (list, tuple)):
            pending.extend(item)
        elif isinstance(item, _HOLDERS) and id(item) not in seen:
            seen.add(id(item))
            pending.extend(vars(item).values())
            pending.extend(getattr(item, slot) for slot in getattr(type(item), "__slots__", ()) if hasattr(item, slot))
    return found
