"""Sums and maxima over a network by the textbook's bucket elimination in NumPy: slow, short and independent."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TypeAlias

import numpy
from numpy.typing import NDArray
from scipy.special import logsumexp

from oracles.answers import Answers
from oracles.bayesian_network import conditional_tables
from oracles.bif import Network

__all__ = ["answers_by_buckets"]

Numbers: TypeAlias = NDArray[numpy.float64]
Factor: TypeAlias = tuple[tuple[str, ...], Numbers]


def answers_by_buckets(network: Network, evidence: Mapping[str, int], marginals: bool = True) -> Answers:
    """Return all answers; each marginal is an elimination of its own."""
    factors = _observed(network, evidence)
    sizes = network.sizes()
    log_evidence = float(_eliminate(factors, sizes, (), logsumexp))
    found = {}
    for name in sizes:
        if marginals and name not in evidence:
            found[name] = numpy.exp(_eliminate(factors, sizes, (name,), logsumexp) - log_evidence).tolist()
    return Answers(log_evidence, found, float(_eliminate(factors, sizes, (), numpy.max)))


def _observed(network: Network, evidence: Mapping[str, int]) -> list[Factor]:
    factors = []
    for name, table in conditional_tables(network).items():
        names = (*network.nodes[name].parents, name)
        values = numpy.asarray(table.log()[tuple(evidence.get(each, slice(None)) for each in names)], dtype=float)
        factors.append((tuple(each for each in names if each not in evidence), values))
    return factors


def _eliminate(
    factors: list[Factor], sizes: Mapping[str, int], kept: tuple[str, ...], reduce: Callable[..., Numbers]
) -> Numbers:
    waiting = set().union(*(names for names, _ in factors)).difference(kept)
    around = {name: set[str]().union(*(names for names, _ in factors if name in names)) for name in waiting}
    left = dict(enumerate(factors))
    holders = {name: {place for place, (names, _) in left.items() if name in names} for name in waiting}
    while waiting:
        name = min(sorted(waiting), key=lambda each: math.prod(sizes[other] for other in around[each]))
        names, product = _multiply([left.pop(place) for place in sorted(holders[name])])
        rest = tuple(each for each in names if each != name)
        with numpy.errstate(divide="ignore"):  # the logarithm of a sum of nothing is minus infinity
            made = reduce(product, axis=names.index(name))
        place = len(factors) + len(sizes) - len(waiting)
        left[place] = rest, made
        waiting.discard(name)
        for each in waiting.intersection(rest):
            holders[each] = (holders[each] - holders[name]) | {place}
            around[each] = (around[each] | set(rest)) - {name}
    return _multiply(list(left.values()))[1]


def _multiply(factors: list[Factor]) -> Factor:
    target = tuple(dict.fromkeys(name for names, _ in factors for name in names))
    total: Numbers = numpy.zeros(())
    for names, values in factors:
        order = [names.index(name) for name in target if name in names]
        shape = [values.shape[names.index(name)] if name in names else 1 for name in target]
        total = total + values.transpose(order).reshape(shape)
    return target, total
