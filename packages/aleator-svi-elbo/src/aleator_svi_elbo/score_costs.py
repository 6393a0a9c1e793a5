"""Which costs a score is multiplied by where plates alone tell them apart, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aleator.infer import Factor

__all__ = ["shared_by_plates"]


def shared_by_plates(factor: Factor) -> str:
    """Say whose costs a site's score answers for; empty where the site has no score."""
    if factor.score is None:
        return ""
    names = sorted(frame.name for frame in factor.frames)
    return f"all sites, per element of {', '.join(names)}" if names else "all sites"
