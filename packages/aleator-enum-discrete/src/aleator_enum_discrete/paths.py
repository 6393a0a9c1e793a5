"""In which order the tables of one component are multiplied pair by pair."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

from opt_einsum import paths as opt_einsum_paths  # type: ignore[import-untyped]  # opt_einsum ships no types

__all__ = ["Path", "find_path", "follow", "path_cost"]

Names: TypeAlias = frozenset[str]
Path: TypeAlias = list[tuple[int, ...]]


def find_path(inputs: Sequence[Names], output: Names, sizes: Mapping[str, int]) -> Path:
    """Return a cheap order: positions to join at each step, what they make is put last, as in opt_einsum.

    The cheaper one of opt_einsum's (exhaustive for few tables, greedy by size for many) and of eliminating always the
    variable whose table is smallest, which is better on large sparse networks. It does not depend on hashes.

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
    if len(inputs) > 8:
        other = _smallest_first(inputs, output, sizes)
        if path_cost(other, inputs, output, sizes) < path_cost(path, inputs, output, sizes):
            return other
    return path


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


def _smallest_first(inputs: Sequence[Names], output: Names, sizes: Mapping[str, int]) -> Path:
    """Eliminate one name after the other, the one first whose neighbours make the smallest table."""
    present = list(inputs)
    path: Path = []
    waiting = sorted(frozenset().union(*inputs) - output)

    def weight(name: str) -> int:
        neighbours = frozenset().union(*(names for names in present if name in names))
        return math.prod(sizes[each] for each in neighbours)

    weights = {name: weight(name) for name in waiting}
    while weights:
        name = min(weights, key=lambda each: (weights[each], each))
        del weights[name]
        merged: Names | None = None
        while True:
            places = [i for i, names in enumerate(present) if name in names]
            if merged is not None and len(places) == 1:
                break
            step = tuple(sorted(sorted(places, key=lambda i: (len(present[i]), i))[:2]))
            together = frozenset().union(*(present[i] for i in step))
            present = [names for i, names in enumerate(present) if i not in step]
            merged = together & output.union(*present)
            present.append(merged)
            path.append(step)
            if name not in merged:
                break
        weights.update((each, weight(each)) for each in sorted(merged) if each in weights)
        for gone in [each for each in weights if not any(each in names for names in present)]:
            del weights[gone]
    while len(present) > 1:
        together = present[-1] | present[-2]
        path.append((len(present) - 2, len(present) - 1))
        present = [*present[:-2], together]
    return path
