"""Give enumerated sites few dims: two need different ones only if their values meet in some factor.

One run of the programs on drawn values finds who meets whom, by dependence; the graph of meetings is colored; colors
are dims. What a dim means at a site is then told by dependence too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar, final

import torch
from torch import Tensor

from aleator.errors import UnsupportedModelError
from aleator_enum_discrete.dependence import Parents, parents_of_draws
from aleator_enum_discrete.enum_messenger import all_values, is_marked
from aleator_enum_discrete.enumerated_dims import LEFTMOST_DIM, NoDimLeft, StaleColoring
from aleator_enum_discrete.memory_limit import memory_of
from aleator_enum_discrete.program_cache import ProgramCache
from aleator_enum_discrete.program_pair import ProgramPair

if TYPE_CHECKING:
    from aleator.sites import Site
    from aleator.trace import Trace

__all__ = ["DimColoring", "color_graph", "color_programs", "with_few_dims"]

R = TypeVar("R")


@final
@dataclass(frozen=True, slots=True)
class DimColoring:
    """Which dims sites have, and which sites the dims mean.

    Attributes:
        places: the color of each enumerated site: its place among the dims, counted from the right.
        of_model, of_guide: for each site, the enumerated sites that its factor varies with.
    """

    places: Mapping[str, int]
    of_model: Mapping[str, frozenset[str]]
    of_guide: Mapping[str, frozenset[str]]


def color_programs(programs: ProgramPair, most: int) -> DimColoring:
    """Run both programs once on drawn values, and color the enumerated sites by who meets whom.

    Args:
        programs: the pair.
        most: how many dims there are.

    Raises:
        UnsupportedModelError: more sites meet in a factor than there are dims, or than memory for all their values;
            they are named.
    """
    found = parents_of_draws(programs)
    carried: dict[str, frozenset[str]] = {}
    _carry(found.guide_trace, found.of_guide, carried)
    _carry(found.model_trace, found.of_model, carried)
    of_model, of_guide = _met(found.of_model, carried), _met(found.of_guide, carried)
    sizes = {**_sizes(found.guide_trace, carried), **_sizes(found.model_trace, carried)}
    for trace, met in ((found.guide_trace, of_guide), (found.model_trace, of_model)):
        for name, sites in met.items():
            _check_size(trace.nodes[name], sites, sizes)
    places = color_graph([*of_guide.values(), *of_model.values()])
    if places and max(places.values()) >= most:
        widest, names = max([*of_model.items(), *of_guide.items()], key=lambda item: len(item[1]))
        raise UnsupportedModelError(
            f"the enumerated sites need {max(places.values()) + 1} dims, and a tensor has {most} for them; most of "
            f"them, {len(names)}, meet in the factor of site {widest!r}: {_listed(names)}; {_ADVICE}"
        )
    return DimColoring(places, of_model, of_guide)


def _sizes(trace: Trace, carried: Mapping[str, frozenset[str]]) -> dict[str, int]:
    marked = [site for name, site in trace.nodes.items() if name in carried and is_marked(site)]
    return {site.name: site.infer.get("num_samples") or len(all_values(site)) for site in marked}


def _check_size(site: Site, met: frozenset[str], sizes: Mapping[str, int]) -> None:
    """Refuse a factor whose table of all values would not fit into memory, before the program makes it."""
    elements = math.prod(sizes[name] for name in met) * math.prod(site.fn.batch_shape)
    device = site.value.device if isinstance(site.value, Tensor) else torch.device("cpu")
    memory = memory_of(device)
    if memory is not None and 4 * elements > memory:
        raise UnsupportedModelError(
            f"the factor of site {site.name!r} has a value for each of {elements:.1e} combinations of the {len(met)} "
            f"enumerated sites that meet in it, more than fit into memory: {_listed(met)}; {_ADVICE}"
        )


_ADVICE = "let it depend on fewer enumerated sites, or sample some of them in the guide"


def _listed(names: frozenset[str]) -> str:
    shown = ", ".join(map(repr, sorted(names)[:8]))
    return f"{shown} and {len(names) - 8} more" if len(names) > 8 else shown


def with_few_dims(attempt: Callable[[DimColoring | None], R], programs: ProgramPair, first_dim: int) -> R:
    """Return what an attempt gives: with a dim for each visible site, or, where these are too many, with a coloring.

    A coloring is found once for programs and shapes.

    Raises:
        UnsupportedModelError: as :func:`color_programs`.
    """
    coloring = None
    if len(_COLORINGS):
        coloring = _COLORINGS.get((programs.key(), first_dim))
    try:
        return attempt(coloring)
    except (NoDimLeft, StaleColoring):
        coloring = color_programs(programs, first_dim - LEFTMOST_DIM + 1)
        _COLORINGS.put((programs.key(), first_dim), coloring)
    return attempt(coloring)


_COLORINGS: ProgramCache[DimColoring] = ProgramCache()


def _carry(trace: Trace, parents: Parents, carried: dict[str, frozenset[str]]) -> None:
    """Note which enumerated sites each value has dims of: its own, or those of what it was drawn given."""
    for name, site in trace.nodes.items():
        if name in parents and name not in carried and not site.is_observed:
            if is_marked(site):
                carried[name] = frozenset((name,))
            else:
                carried[name] = frozenset().union(*(carried.get(each, frozenset()) for each in parents[name] - {name}))


def _met(parents: Parents, carried: Mapping[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    return {
        name: frozenset().union(*(carried.get(each, frozenset()) for each in found)) for name, found in parents.items()
    }


def color_graph(cliques: Iterable[frozenset[str]]) -> dict[str, int]:
    """Color names so that those of one clique differ: greedily, the least connected of what remains last.

    Example:
        >>> sorted(color_graph([frozenset("ab"), frozenset("bc"), frozenset("cd")]).items())
        [('a', 1), ('b', 0), ('c', 1), ('d', 0)]
    """
    neighbours: dict[str, set[str]] = {}
    for clique in cliques:
        for name in sorted(clique):
            neighbours.setdefault(name, set()).update(clique - {name})
    remaining = {name: len(found) for name, found in neighbours.items()}
    order = []
    while remaining:
        name = min(remaining, key=lambda each: remaining[each])
        del remaining[name]
        order.append(name)
        for other in neighbours[name]:
            if other in remaining:
                remaining[other] -= 1
    colors: dict[str, int] = {}
    for name in reversed(order):
        taken = {colors[other] for other in neighbours[name] if other in colors}
        colors[name] = next(color for color in range(len(taken) + 1) if color not in taken)
    return colors
