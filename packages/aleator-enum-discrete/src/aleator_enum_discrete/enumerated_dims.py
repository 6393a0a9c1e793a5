"""Which tensor dim each enumerated site has, and which sites the dims mean where a program stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from aleator.errors import UnsupportedModelError
from aleator.markov import MarkovFrame, MarkovStep, is_visible
from aleator.plates import reserve_dims
from aleator.runtime import RUN, STACK
from aleator.stash import StashKey

if TYPE_CHECKING:
    from aleator.sites import Site
    from aleator_enum_discrete.dim_coloring import DimColoring

__all__ = [
    "DIM_NAMES",
    "ENUMERATED",
    "LEFTMOST_DIM",
    "DimAllocator",
    "Enumerated",
    "NoDimLeft",
    "ProgramDims",
    "StaleColoring",
]

# The most dims of a torch tensor are 64; distributions add some of their own to the right (categories, matrices).
LEFTMOST_DIM = -60
# Beyond so many sites a dim is not given without a look at who meets whom: a tensor over all of them might not fit.
_MOST_UNCOLORED = 16


@final
@dataclass(frozen=True, slots=True)
class Enumerated:
    """How a site's values lie in its tensor.

    Attributes:
        dim: the tensor dim along which the values lie.
        size: how many there are.
        is_exact: whether they are all values; else they are draws.
    """

    dim: int
    size: int
    is_exact: bool = True


ENUMERATED: StashKey[Enumerated] = StashKey("enumerated")
"""On a site that was enumerated in parallel, by the program at hand or by the guide whose values it replays."""

DIM_NAMES: StashKey[Mapping[int, str]] = StashKey("dim_names")
"""On every sample site of a run with enumeration: the enumerated sites that the dims mean at that site."""


class NoDimLeft(UnsupportedModelError):
    """More enumerated sites are visible at once than a tensor has dims."""


class StaleColoring(UnsupportedModelError):
    """The program has other sites than it had when its dims were colored."""


_POOLS: StashKey[dict[int, list[int]]] = StashKey("enumeration_pools")


@final
class DimAllocator:
    """Gives out the dims left of all plates, to the guide first and then to the model.

    Args:
        first_dim: the rightmost dim to give out.
        coloring: which dims to give to whom, where that was settled beforehand.
    """

    def __init__(self, first_dim: int, coloring: DimColoring | None = None) -> None:
        self.first_dim = first_dim
        self.coloring = coloring
        self.enumerated: dict[str, Enumerated] = {}
        self.of_guide: set[int] = set()

    def dim(self, place: int) -> int:
        """Return the dim at a place of the pool, counted from the right; it is reserved for the extent of the run.

        Raises:
            NoDimLeft: so many sites are visible that it pays, or is needed, to look which of them meet.
        """
        run = RUN.get()
        assert run is not None  # a handler stands around every sample site
        pools = run.stash.get(_POOLS)
        if pools is None:
            pools = run.stash[_POOLS] = {}
        pool = pools.setdefault(self.first_dim, [])
        while len(pool) <= place:
            pool.extend(reserve_dims(1, left_of=pool[-1] if pool else self.first_dim + 1))
        if pool[place] < LEFTMOST_DIM or (self.coloring is None and place >= _MOST_UNCOLORED):
            raise NoDimLeft(f"more than {place} enumerated sites are visible at once")
        return pool[place]


@final
class ProgramDims:
    """The dims that mean something in one run of one program.

    Args:
        allocator: what gives out dims.
        is_guide: whether the program is the guide, whose dims the model does not give out again.
    """

    def __init__(self, allocator: DimAllocator, is_guide: bool = False) -> None:
        self._allocator = allocator
        self.first_dim = allocator.first_dim
        self._is_guide = is_guide
        self._holders: dict[int, list[Site]] = {}
        self._names: dict[int, str] = {}
        self._has_steps = False
        self._has_kept_steps = False
        self._asked: tuple[tuple[MarkovFrame, ...], Mapping[int, str]] | None = None

    def names_at(self, site: Site) -> Mapping[int, str]:
        """Return which enumerated site each dim means at a site."""
        coloring = self._allocator.coloring
        if coloring is not None:
            met = (coloring.of_guide if self._is_guide else coloring.of_model).get(site.name, ())
            known = self._allocator.enumerated
            return {known[name].dim: name for name in met if name in known}
        if not self._has_steps:
            return self._names
        frames = site.markov_frames
        if self._asked is None or self._asked[0] != frames:
            names = {}
            for dim, holders in self._holders.items():
                for holder in reversed(holders):
                    if is_visible(holder, site):
                        names[dim] = holder.name
                        break
            self._asked = frames, names
        return self._asked[1]

    def give(self, site: Site) -> int:
        """Return a dim for a site that means no other where the site stands."""
        allocator = self._allocator
        if allocator.coloring is not None:
            if site.name not in allocator.coloring.places:
                raise StaleColoring(f"site {site.name!r} was not there when dims were found for this program")
            return allocator.dim(allocator.coloring.places[site.name])
        taken = set() if self._is_guide else set(allocator.of_guide)
        taken.update(self.names_at(site), self._kept_dims())
        place = 0
        while (dim := allocator.dim(place)) in taken:
            place += 1
        return dim

    def hold(self, site: Site, enumerated: Enumerated) -> None:
        """Note that from here on a dim means a site, and say so on the site."""
        dim = enumerated.dim
        frames = site.markov_frames
        if frames:
            # What a step sees is kept while it lasts, and a site is seen in its own step.
            seen = self.names_at(site) if self._has_steps else dict(self._names)
            self._asked = frames, {**seen, dim: site.name}
            self._has_steps = True
            self._has_kept_steps = self._has_kept_steps or any(frame.keep for frame in frames)
        else:
            self._asked = None
        holders = self._holders.setdefault(dim, [])
        if holders:
            # Where a step inside another one ends, the outer one's sites are seen again.
            still_open = _open_steps()
            holders[:] = [each for each in holders if _is_open(each, still_open)]
        holders.append(site)
        self._names[dim] = site.name
        self._allocator.enumerated[site.name] = enumerated
        if self._is_guide:
            self._allocator.of_guide.add(dim)
        site.stash[ENUMERATED] = enumerated

    def _kept_dims(self) -> set[int]:
        """The dims of ended branches that a sibling may still come to see."""
        if not self._has_kept_steps:
            return set()
        chains = {chain for chain, _ in _open_steps()}
        return {
            dim
            for dim, holders in self._holders.items()
            if any(frame.keep and frame.chain in chains for holder in holders for frame in holder.markov_frames)
        }


def _open_steps() -> set[tuple[int, int]]:
    """Return chain and number of each markov step that the caller stands in."""
    return {(handler.frame.chain, handler.frame.step) for handler in STACK.get() if type(handler) is MarkovStep}


def _is_open(site: Site, steps: set[tuple[int, int]]) -> bool:
    return all((frame.chain, frame.step) in steps for frame in site.markov_frames)
