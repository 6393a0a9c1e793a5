"""Run a model on a draw from a posterior, also where its plates have other data now."""

from __future__ import annotations

import warnings
from typing import final

import torch
from torch import Tensor

from aleator.errors import AleatorWarning
from aleator.messenger import Messenger
from aleator.sites import PlateFrame, Site
from aleator.trace import Trace

__all__ = ["ReplayedDraw"]


@final
class ReplayedDraw(Messenger):
    """Give latent sites the values of one draw, each element its own datum.

    A plate that draws a minibatch gets the one of the draw. Where a plate states other elements than the draw saw, rows
    are picked by index; where some of its elements were not seen at all, the local latent sites are drawn anew by the
    model, from their prior given the global ones, and a warning says so once per draw. The draw is only read: values
    are copied.

    Args:
        trace: a draw, as ``Draws.traces()`` gives it.
    """

    def __init__(self, trace: Trace) -> None:
        super().__init__()
        self._nodes = trace.nodes
        self._current: dict[str, Tensor] = {}
        self.drawn_anew: list[str] = []
        self.moved: list[str] = []

    def process_subsample(self, site: Site) -> None:
        """Take the draw's minibatch where the plate would draw one of that size from as many elements."""
        seen = self._nodes.get(site.name)
        if seen is None or seen.type != "subsample" or site.value is not None:
            return
        if _full_size(self._nodes, site.name) in (None, site.fn.size) and len(seen.value) == site.fn.subsample_size:
            site.value = seen.value.clone()
            site.done = True

    def postprocess_subsample(self, site: Site) -> None:
        """Note the elements of a plate."""
        self._current[site.name] = site.value

    def process_sample(self, site: Site) -> None:
        """Take the draw's value where the site is latent in both."""
        seen = self._nodes.get(site.name)
        if seen is None or seen.type != "sample" or seen.is_observed or site.value is not None or site.is_observed:
            return
        value = seen.value
        event_dim = len(seen.fn.event_shape)
        current = {frame.name: frame for frame in site.frames}
        for frame in seen.frames:
            now = current.get(frame.name)
            if frame.dim is None or now is None or now.dim is None:
                continue
            rows = self._rows(frame, now)
            if rows is None:
                self._leave(site.name, now)
                return
            if not _is_identity(rows, frame.size):
                value = value.index_select(frame.dim - event_dim, rows.to(value.device))
                self.moved.append(site.name)
        site.value = value.clone()
        site.done = True

    def _rows(self, then: PlateFrame, now: PlateFrame) -> Tensor | None:
        """Return which row of the draw belongs to each element now, or ``None`` where one was not seen."""
        if then.full_size != now.full_size:
            return None
        seen = self._nodes.get(then.name)
        old = torch.arange(then.size) if seen is None else seen.value.cpu()
        new = self._current.get(now.name, torch.arange(now.size)).cpu()
        if old.shape == new.shape and torch.equal(old, new):
            return torch.arange(then.size)
        place = torch.full((then.full_size,), -1, dtype=torch.long)
        place[old] = torch.arange(len(old))
        rows = place[new]
        return None if bool((rows < 0).any()) else rows

    def _leave(self, name: str, plate: PlateFrame) -> None:
        self.drawn_anew.append(name)
        warnings.warn(
            f"site {name!r} is drawn anew by the model: plate {plate.name!r} has elements that the posterior's draws "
            f"did not see",
            AleatorWarning,
            stacklevel=2,
        )


def _full_size(nodes: dict[str, Site], plate: str) -> int | None:
    for site in nodes.values():
        for frame in site.frames:
            if frame.name == plate:
                return frame.full_size
    return None


def _is_identity(rows: Tensor, size: int) -> bool:
    return len(rows) == size and torch.equal(rows, torch.arange(size))
