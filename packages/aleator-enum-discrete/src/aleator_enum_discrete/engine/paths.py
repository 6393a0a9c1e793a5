"""In which order the tables of one component are multiplied pair by pair."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from opt_einsum import paths as opt_einsum_paths  # type: ignore[import-untyped]  # opt_einsum ships no types

from aleator_enum_discrete.engine.elimination_orders import elimination_order, fill_in, table_size

__all__ = ["Path", "find_path", "follow", "path_cost"]

Names: TypeAlias = frozenset[str]
Path: TypeAlias = list[tuple[int, ...]]

MANY_TABLES = 8  # beyond it opt_einsum searches along one branch, then greedily


def find_path(inputs: Sequence[Names], output: Names, sizes: Mapping[str, int]) -> Path:
    """Return a cheap order: positions to join at each step, what they make is put last, as in opt_einsum.

    The cheapest one of opt_einsum's (exhaustive for few tables, greedy by size for many) and of eliminating variable
    after variable, always that whose table is smallest or that ties the fewest others anew: these are better on large
    sparse networks. It does not depend on hashes.

    Example:
        >>> find_path([frozenset("ab"), frozenset("bc"), frozenset("c")], frozenset("a"), {"a": 2, "b": 3, "c": 4})
        [(1, 2), (0, 1)]
    """
    if len(inputs) <= 2:
        return [tuple(range(len(inputs)))]
    # Numbers in place of names: sets of strings are walked in another order in every process.
    number = {name: i for i, name in enumerate(sorted(frozenset().union(*inputs)))}
    sets = [frozenset(number[name] for name in names) for names in inputs]
    kept = frozenset(number[name] for name in output)
    measured = {i: sizes[name] for name, i in number.items()}
    path: Path = [tuple(sorted(step)) for step in opt_einsum_paths.auto(sets, kept, measured)]
    if len(inputs) <= MANY_TABLES:
        return path
    orders = (elimination_order(inputs, output, sizes, score) for score in (table_size, fill_in))
    candidates = [path, *(_eliminating(order, inputs, output) for order in orders)]
    return min(candidates, key=lambda each: path_cost(each, inputs, output, sizes))


def follow(path: Path, inputs: Sequence[Names], output: Names) -> Iterator[tuple[tuple[int, ...], Names, Names]]:
    """Yield for each step of a path what it joins, all names that meet in it, and the names that remain after it."""
    present = list(inputs)
    for step in path:
        joined = [present[i] for i in step]
        present = [names for i, names in enumerate(present) if i not in step]
        together = frozenset().union(*joined)
        remaining = together & output.union(*present)
        present.append(remaining)
        yield step, together, remaining


def path_cost(path: Path, inputs: Sequence[Names], output: Names, sizes: Mapping[str, int]) -> int:
    """Return the number of elements of all joint tables of a path: its multiplications."""
    return sum(math.prod(sizes[name] for name in together) for _, together, _ in follow(path, inputs, output))


def _eliminating(order: Sequence[str], inputs: Sequence[Names], output: Names) -> Path:
    """Eliminate one name after the other: join the tables that hold it pair by pair, those over few names first."""
    present = list(inputs)
    path: Path = []
    gone: set[str] = set()
    for name in order:
        joined = False
        while name not in gone:
            places = [i for i, names in enumerate(present) if name in names]
            if joined and len(places) == 1:
                break
            step = tuple(sorted(sorted(places, key=lambda i: (len(present[i]), i))[:2]))
            together = frozenset().union(*(present[i] for i in step))
            present = [names for i, names in enumerate(present) if i not in step]
            merged = together & output.union(*present)
            gone |= together - merged
            present.append(merged)
            path.append(step)
            joined = True
    while len(present) > 1:
        path.append((len(present) - 2, len(present) - 1))
        present = [*present[:-2], present[-1] | present[-2]]
    return path
