"""Which tensor dim each enumerated site has, and which sites the dims mean where a program stands."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

from aleator.errors import UnsupportedModelError
from aleator.markov import MarkovFrame, MarkovStep, is_visible, markov_frames
from aleator.plates import reserve_dims
from aleator.runtime import RUN, STACK
from aleator.stash import StashKey

if TYPE_CHECKING:
    from aleator.sites import Site

__all__ = ["DIM_NAMES", "ENUMERATED", "DimAllocator", "Enumerated", "NoDimLeft", "ProgramDims"]

# The most dims of a torch tensor are 64; distributions add some of their own to the right (categories, matrices).
_LEFTMOST = -60


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


_POOLS: StashKey[dict[int, list[int]]] = StashKey("enumeration_pools")


@final
class DimAllocator:
    """Gives out the dims left of all plates, to the guide first and then to the model.

    Args:
        first_dim: the rightmost dim to give out.
        given: the dims of sites that are settled beforehand, by name.
    """

    def __init__(self, first_dim: int, given: Mapping[str, int] | None = None) -> None:
        self.first_dim = first_dim
        self.given = given
        self.enumerated: dict[str, Enumerated] = {}
        self.of_guide: set[int] = set()

    def dim(self, place: int) -> int:
        """Return the dim at a place of the pool, counted from the right; it is reserved for the extent of the run.

        Raises:
            NoDimLeft: a tensor has no dim so far to the left.
        """
        run = RUN.get()
        assert run is not None  # a handler stands around every sample site
        pools = run.stash.get(_POOLS)
        if pools is None:
            pools = run.stash[_POOLS] = {}
        pool = pools.setdefault(self.first_dim, [])
        while len(pool) <= place:
            pool.extend(reserve_dims(1, left_of=pool[-1] if pool else self.first_dim + 1))
        if pool[place] < _LEFTMOST:
            raise NoDimLeft(
                f"more than {place} enumerated sites are visible at once, and a tensor has no dim for another; mark "
                f"steps that depend on a few before them only by aleator.markov, or enumerate fewer sites"
            )
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
        self._asked: tuple[tuple[MarkovFrame, ...], Mapping[int, str]] | None = None
        self.is_shared = False
        """Whether one dim means different sites at different places."""

    def names_at(self, site: Site) -> Mapping[int, str]:
        """Return which enumerated site each dim means at a site."""
        if not self._has_steps:
            return self._names
        frames = markov_frames(site)
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
        if allocator.given is not None and site.name in allocator.given:
            return allocator.given[site.name]
        taken = set() if self._is_guide else set(allocator.of_guide)
        taken.update(self.names_at(site), self._kept_dims())
        place = 0
        while (dim := allocator.dim(place)) in taken:
            place += 1
        return dim

    def hold(self, site: Site, enumerated: Enumerated) -> None:
        """Note that from here on a dim means a site, and say so on the site."""
        dim = enumerated.dim
        self._has_steps = self._has_steps or len(markov_frames(site)) > 0
        holders = self._holders.setdefault(dim, [])
        if holders:
            self.is_shared = True
            # Where a step inside another one ends, the outer one's sites are seen again.
            still_open = _open_steps()
            holders[:] = [each for each in holders if _is_open(each, still_open)]
        holders.append(site)
        self._names[dim] = site.name
        self._asked = None
        self._allocator.enumerated[site.name] = enumerated
        if self._is_guide:
            self._allocator.of_guide.add(dim)
        site.stash[ENUMERATED] = enumerated

    def _kept_dims(self) -> set[int]:
        """The dims of ended branches that a sibling may still come to see."""
        if not self._has_steps:
            return set()
        chains = {chain for chain, _ in _open_steps()}
        return {
            dim
            for dim, holders in self._holders.items()
            if any(frame.keep and frame.chain in chains for holder in holders for frame in markov_frames(holder))
        }


def _open_steps() -> set[tuple[int, int]]:
    """Return chain and number of each markov step that the caller stands in."""
    return {(handler.frame.chain, handler.frame.step) for handler in STACK.get() if isinstance(handler, MarkovStep)}


def _is_open(site: Site, steps: set[tuple[int, int]]) -> bool:
    return all((frame.chain, frame.step) in steps for frame in markov_frames(site))
