"""Widen a site's distribution to the plates around it."""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from aleator.sites import PlateFrame, Site

__all__ = ["broadcast_to_frames", "plate_shape"]


def broadcast_to_frames(site: Site) -> None:
    """Expand the distribution of a sample site to the sizes of the vectorized plates around it.

    Raises:
        ValueError: where the batch shape has another size than a plate at the plate's dim.
    """
    batch_shape = getattr(site.fn, "batch_shape", None)
    if batch_shape is None:
        return
    target, clash = plate_shape(batch_shape, site.frames)
    if clash is not None:
        raise ValueError(
            f"site {site.name!r}: plate {clash.name!r} has size {clash.size} at dim {clash.dim}, but the distribution "
            f"{type(site.fn).__name__} has batch shape {tuple(batch_shape)}; give it size {clash.size} or 1 at that "
            f"dim, turn dims that belong to one draw into event dims with .to_event(n), or give the plate another dim"
        )
    if target != batch_shape:
        site.fn = site.fn.expand(target)


@lru_cache(maxsize=4096)
def plate_shape(batch_shape: torch.Size, frames: tuple[PlateFrame, ...]) -> tuple[torch.Size, PlateFrame | None]:
    """Return the batch shape widened by the plates' sizes, and the first plate that does not fit (else ``None``)."""
    sizes = list(batch_shape)
    for frame in frames:
        if frame.dim is None:
            continue
        if -frame.dim > len(sizes):
            sizes = [1] * (-frame.dim - len(sizes)) + sizes
        if sizes[frame.dim] not in (1, frame.size):
            return batch_shape, frame
        sizes[frame.dim] = frame.size
    return torch.Size(sizes), None
