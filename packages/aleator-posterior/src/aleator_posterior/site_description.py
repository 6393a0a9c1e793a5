"""What a posterior keeps about a site beside its values."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, final

import torch

from aleator.scoring import is_deterministic
from aleator.sites import PlateFrame, Site

__all__ = ["SiteDescription"]


@final
@dataclass(frozen=True, slots=True)
class SiteDescription:
    """What kind of site a column belongs to, and what the dims of one of its values mean.

    Attributes:
        role: ``latent``, ``observed`` (data), ``deterministic``, ``subsample`` (a plate's indices), or ``return`` (the
            program's result).
        frames: the plates around the site, the outermost first.
        event_dim: how many of the rightmost dims are one draw; ``None`` for all.

    Example:
        >>> from aleator.sites import PlateFrame
        >>> from aleator_posterior import SiteDescription
        >>> data = PlateFrame("data", dim=-1, size=4, full_size=4)
        >>> SiteDescription("latent", (data,), event_dim=1).dims("z", 2)
        ('data', 'z_dim_1')
    """

    role: Literal["latent", "observed", "deterministic", "subsample", "return"] = "latent"
    frames: tuple[PlateFrame, ...] = ()
    event_dim: int | None = None

    @classmethod
    def of(cls, site: Site) -> SiteDescription:
        """Describe a site of a trace."""
        if site.type == "subsample":
            return cls("subsample", site.frames, 1)
        if site.type == "return":
            return cls("return")
        event_dim = len(site.fn.event_shape) if hasattr(site.fn, "event_shape") else None
        if is_deterministic(site):
            return cls("deterministic", site.frames, event_dim)
        return cls("observed" if site.is_observed else "latent", site.frames, event_dim)

    @property
    def is_data(self) -> bool:
        """Whether the values were given rather than drawn, so that draws nearly always share one."""
        return self.role in ("observed", "subsample")

    def split(self, shape: torch.Size) -> tuple[torch.Size, torch.Size]:
        """Split the shape of one value into its batch shape and its event shape."""
        place = 0 if self.event_dim is None else max(len(shape) - self.event_dim, 0)
        return shape[:place], shape[place:]

    def dims(self, name: str, count: int) -> tuple[str, ...]:
        """Name the dims of one value, left to right: after a plate where one owns the dim, else ``<name>_dim_<place>``.

        Args:
            name: the site's name.
            count: how many dims the value has.
        """
        event_dim = count if self.event_dim is None else self.event_dim
        plates = {count - event_dim + frame.dim: frame.name for frame in self.frames if frame.dim is not None}
        return tuple(plates.get(place, f"{name}_dim_{place}") for place in range(count))
