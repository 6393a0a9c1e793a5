"""The factors of a run as tables: which sites and plates their dims mean."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from torch import Tensor

from aleator.infer import Factor, density
from aleator_enum_discrete.engine.tables import Domain, Table, Variable
from aleator_enum_discrete.enumerated_dims import DIM_NAMES, ENUMERATED, Enumerated

if TYPE_CHECKING:
    from aleator.sites import PlateFrame, Site
    from aleator.trace import Trace

__all__ = ["NamedFactor", "domain_of", "enumerated_sites", "named_factors", "plates_of"]


@final
@dataclass(frozen=True, slots=True)
class NamedFactor:
    """A factor, and what its dims mean.

    Attributes:
        factor: of the site.
        site: the site.
        dims: for each dim its plate or enumerated site.
        plates: the plates around it that repeat it along a tensor dim.
    """

    factor: Factor
    site: Site
    dims: Mapping[int, str]
    plates: frozenset[str]

    def table(self, values: Tensor) -> Table:
        """Name the dims of a tensor that has the dims of this factor.

        Raises:
            ValueError: naming the site, where a dim is neither a plate's nor an enumerated site's.
        """
        try:
            return Table.from_dims(values, self.dims, self.plates)
        except ValueError as error:
            raise ValueError(
                f"site {self.site.name!r}: {error}; put the site into a plate of that size, or declare the dim part "
                f"of one draw with .to_event(n)"
            ) from error


def named_factors(trace: Trace) -> dict[str, NamedFactor]:
    """Score the sites of a run under enumeration, and name the dims of their factors."""
    found = {}
    for name, factor in density(trace).items():
        site = trace.nodes[name]
        plates = {frame.dim: frame.name for frame in site.frames if frame.dim is not None and frame.size != 1}
        named = site.stash.get(DIM_NAMES)
        dims = plates if named is None else {**named, **plates}
        found[name] = NamedFactor(factor, site, dims, frozenset(plates.values()))
    return found


def enumerated_sites(trace: Trace) -> dict[str, tuple[Site, Enumerated]]:
    """Return the sites of a run whose values lie along a dim, in their order."""
    found = {}
    for name, site in trace.nodes.items():
        if site._stash is not None and ENUMERATED in site._stash:
            found[name] = site, site._stash[ENUMERATED]
    return found


def plates_of(site: Site) -> frozenset[str]:
    """Return the names of the plates around a site that repeat it along a tensor dim."""
    return frozenset(frame.name for frame in site.frames if is_repeated(frame))


def is_repeated(frame: PlateFrame) -> bool:
    """Whether a plate is a tensor dim of several elements; one element is no repetition."""
    return frame.dim is not None and frame.size != 1


def domain_of(sites: Mapping[str, tuple[Site, Enumerated]], frames: Iterable[PlateFrame]) -> Domain:
    """Return the domain of enumerated sites, and of the plates of a run."""
    variables = (Variable(name, enumerated.size, plates_of(site)) for name, (site, enumerated) in sites.items())
    plates = {frame.name: frame.size for frame in frames if is_repeated(frame)}
    return Domain(tuple(variables), tuple(plates.items()))
