"""In which order the variables of a sparse network are eliminated: greedy on its graph, by what an elimination adds."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

__all__ = ["Score", "elimination_order", "fill_in", "table_size"]

Graph: TypeAlias = dict[str, set[str]]
Score: TypeAlias = Callable[[str, Graph, Mapping[str, int]], float]


def table_size(name: str, graph: Graph, sizes: Mapping[str, int]) -> float:
    """Return the elements of the table that eliminating a variable makes: the rule called min-weight."""
    return math.prod(sizes[each] for each in graph[name]) * sizes[name]


def fill_in(name: str, graph: Graph, sizes: Mapping[str, int]) -> float:
    """Return the sum of the sizes of the pairs that eliminating a variable ties anew: the rule weighted min-fill."""
    around = graph[name]
    return sum(
        sizes[first] * sizes[second]
        for first, second in itertools.combinations(around, 2)
        if second not in graph[first]
    )


def elimination_order(
    tables: Sequence[frozenset[str]], kept: frozenset[str], sizes: Mapping[str, int], score: Score
) -> list[str]:
    """Return all names but those that are kept, at each turn one whose score is smallest (Koller & Friedman 2009, 9.4).

    Of equals the smaller table goes first, then the name that is first in the alphabet.

    Example:
        >>> chain = [frozenset("ab"), frozenset("bc"), frozenset("cd")]
        >>> elimination_order(chain, frozenset("a"), dict.fromkeys("abcd", 2), fill_in)
        ['d', 'c', 'b']
    """
    graph: Graph = {}
    for table in tables:
        for name in table:
            graph.setdefault(name, set()).update(table)
    for name, around in graph.items():
        around.discard(name)

    def measured(name: str) -> tuple[float, float, str]:
        return score(name, graph, sizes), table_size(name, graph, sizes), name

    waiting = {name: measured(name) for name in sorted(graph) if name not in kept}
    order = []
    while waiting:
        name = min(waiting.values())[-1]
        del waiting[name]
        order.append(name)
        around = graph.pop(name)
        changed = set(around)
        for each in around:
            # The common neighbours of a pair that becomes tied have one pair less to tie.
            changed.update(*(graph[each] & graph[other] for other in around - graph[each] - {each}))
            graph[each] |= around
            graph[each] -= {name, each}
        waiting.update((each, measured(each)) for each in sorted(changed) if each in waiting)
    return order
