"""Sums and maxima over a network by the textbook's bucket elimination in NumPy: slow, short and independent."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from functools import partial
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
    factors = list(factors)
    while waiting := {name for names, _ in factors for name in names}.difference(kept):
        name = min(sorted(waiting), key=partial(_elements, factors=factors, sizes=sizes))
        bucket = [factor for factor in factors if name in factor[0]]
        names, product = _multiply(bucket)
        factors = [factor for factor in factors if name not in factor[0]]
        with numpy.errstate(divide="ignore"):  # the logarithm of a sum of nothing is minus infinity
            factors.append((tuple(each for each in names if each != name), reduce(product, axis=names.index(name))))
    return _multiply(factors)[1]


def _elements(name: str, factors: list[Factor], sizes: Mapping[str, int]) -> int:
    """The elements of the table that eliminating a variable makes."""
    return math.prod(sizes[each] for each in {each for names, _ in factors if name in names for each in names})


def _multiply(factors: list[Factor]) -> Factor:
    target = tuple(dict.fromkeys(name for names, _ in factors for name in names))
    total: Numbers = numpy.zeros(())
    for names, values in factors:
        order = [names.index(name) for name in target if name in names]
        shape = [values.shape[names.index(name)] if name in names else 1 for name in target]
        total = total + values.transpose(order).reshape(shape)
    return target, total
