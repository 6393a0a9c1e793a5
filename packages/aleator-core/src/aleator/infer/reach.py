"""Which factors a draw of the guide enters, directly or through the draws that depend on it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, final

if TYPE_CHECKING:
    from aleator.infer.structure import SiteStructure

__all__ = ["NOTHING_REACHED", "Reached", "reached_by"]

Sites = Mapping[str, "SiteStructure"]


@final
class Reached(NamedTuple):
    """The factors that one draw enters.

    Attributes:
        model: sites of the model.
        guide: sites of the guide, the draw's own among them.
    """

    model: frozenset[str] = frozenset()
    guide: frozenset[str] = frozenset()


def reached_by(model: Sites, guide: Sites) -> Mapping[str, Reached]:
    """Return what each site of a guide reaches.

    A factor of the guide with a score (``factor(..., has_rsample=False)``) says that the draws it looks at, and those
    they come from, follow another law than the one they were drawn by; under that law none of them is independent of
    the others, so that each reaches whatever one of them reaches.
    """
    ancestors: dict[str, frozenset[str]] = {}
    for name, site in guide.items():
        ancestors[name] = _closure(site.value_depends_on, ancestors)
    sources = {
        (side, name): _closure(site.factor_depends_on, ancestors)
        for side, sites in (("model", model), ("guide", guide))
        for name, site in sites.items()
    }
    joint = _joined([sources["guide", name] for name, site in guide.items() if _has_own_score(site)])
    for key, found in sources.items():
        sources[key] = found.union(*(block for block in joint if not block.isdisjoint(found)))
    return {
        name: _reached(sources["guide", name] if _has_own_score(site) else frozenset((name,)), sources)
        for name, site in guide.items()
    }


def _closure(direct: frozenset[str], ancestors: Mapping[str, frozenset[str]]) -> frozenset[str]:
    return direct.union(*(ancestors.get(name, frozenset()) for name in direct))


def _has_own_score(site: SiteStructure) -> bool:
    return site.is_observed and not site.has_rsample


def _joined(blocks: list[frozenset[str]]) -> list[frozenset[str]]:
    """Merge blocks that have a site in common."""
    joined: list[frozenset[str]] = []
    for block in blocks:
        touching = [other for other in joined if not other.isdisjoint(block)]
        joined = [other for other in joined if other.isdisjoint(block)] + [block.union(*touching)]
    return joined


def _reached(draws: frozenset[str], sources: Mapping[tuple[str, str], frozenset[str]]) -> Reached:
    entered = [key for key, found in sources.items() if not draws.isdisjoint(found)]
    model, guide = (frozenset(name for side, name in entered if side == which) for which in Reached._fields)
    return Reached(model, guide)


NOTHING_REACHED = Reached()
