"""Find out whether tables form a chain: variables in a row, each met by its neighbours only."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import final

__all__ = ["ChainLayout", "find_chain"]


@final
@dataclass(frozen=True, slots=True)
class ChainLayout:
    """Which table is what in a chain of order 1.

    Attributes:
        variables: in the order of the chain, from the end that the tables name first.
        unary: for each variable, the positions of the tables over it alone.
        pairs: for each variable but the first, the positions of those over it and the one before.
        batch: the other names of the tables; the chain is repeated along them.
    """

    variables: tuple[str, ...]
    unary: tuple[tuple[int, ...], ...]
    pairs: tuple[tuple[int, ...], ...]
    batch: tuple[str, ...]


def find_chain(
    tables: Sequence[Sequence[str]], variables: Iterable[str], sizes: Mapping[str, int]
) -> ChainLayout | None:
    """Recognize a chain among tables given by their names, or return ``None``.

    A chain has two variables or more, all of one size; every table is over at most two of them; the pairs make one
    line; and some table has all the names that the chain is repeated along, so that stacking wastes nothing.

    Args:
        tables: the names of each table's dims.
        variables: those that are to be summed out.
        sizes: the size of every name.

    Example:
        >>> names = [("a",), ("a", "b"), ("data", "b"), ("b", "c")]
        >>> find_chain(names, ["a", "b", "c"], {"a": 2, "b": 2, "c": 2, "data": 9}).pairs
        ((1,), (3,))
    """
    wanted = frozenset(variables)
    if len(wanted) < 2 or len({sizes[name] for name in wanted}) != 1:
        return None
    alone: dict[str, list[int]] = {}
    together: dict[frozenset[str], list[int]] = {}
    neighbours: dict[str, set[str]] = {}
    for place, names in enumerate(tables):
        held = [name for name in names if name in wanted]
        if len(held) > 2:
            return None
        if len(held) == 2:
            together.setdefault(frozenset(held), []).append(place)
            neighbours.setdefault(held[0], set()).add(held[1])
            neighbours.setdefault(held[1], set()).add(held[0])
        elif held:
            alone.setdefault(held[0], []).append(place)
    order = _line(neighbours, [name for names in tables for name in names if name in wanted])
    batches = [tuple(name for name in names if name not in wanted) for names in tables]
    batch = max(batches, key=len, default=())
    if order is None or len(order) != len(wanted) or not frozenset(batch).issuperset(frozenset().union(*batches)):
        return None
    pairs = (tuple(together[frozenset(pair)]) for pair in pairwise(order))
    return ChainLayout(tuple(order), tuple(tuple(alone.get(name, ())) for name in order), tuple(pairs), batch)


def _line(neighbours: Mapping[str, set[str]], mentioned: Sequence[str]) -> list[str] | None:
    """Walk the line of neighbours from the end that is mentioned first."""
    ends = [name for name in dict.fromkeys(mentioned) if len(neighbours.get(name, ())) == 1]
    if len(ends) != 2 or any(len(each) > 2 for each in neighbours.values()):
        return None
    order = [ends[0]]
    previous = None
    while order[-1] != ends[1]:
        (following,) = neighbours[order[-1]] - {previous}
        previous = order[-1]
        order.append(following)
    return order
