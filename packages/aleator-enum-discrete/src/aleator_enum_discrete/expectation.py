"""The expectation of costs under a guide whose sites are enumerated, drawn, or both: sums of weighted tables.

Every site of the guide has a weight whose value tells how often its values count, and whose derivative is that of the
law they were drawn by (Foerster et al. 2018, "DiCE"): ``q`` where all values are there, ``q / stop(q)`` where one was
drawn, ``q / stop(q) / n`` where ``n`` were. A cost is weighed by the sites that it depends on, in the plates it is in.
"""

from __future__ import annotations

import math
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from aleator.errors import UnsupportedModelError
from aleator.randomness import is_interpreted
from aleator_enum_discrete.engine.contraction import contract_all
from aleator_enum_discrete.engine.marginals import marginalize
from aleator_enum_discrete.engine.semirings import LOG
from aleator_enum_discrete.engine.tables import Domain, Table, align

__all__ = ["Cost", "Weight", "ancestors", "expect"]


@final
@dataclass(frozen=True, slots=True)
class Cost:
    """A term of the objective.

    Attributes:
        side: ``"model"`` or ``"guide"``.
        name: of its site.
        table: its values; minus infinity is allowed where nothing has weight.
        scale: what multiplies it.
        parents: the sites of the guide that it depends on; ``None`` where that need not be known, since all of them
            are summed out.
    """

    side: str
    name: str
    table: Table
    scale: Tensor | float
    parents: frozenset[str] | None = None


@final
@dataclass(frozen=True, slots=True)
class Weight:
    """How much the values of one site of the guide count.

    Attributes:
        name: the site.
        table: logarithms.
        absent: the logarithm of the weight where a cost lies outside of a plate of the site, and one run in many is
            looked at; 0 where weights sum to one.
        is_drawn: whether values were drawn, so that only the derivative is of interest.
        sums_to_one: whether all values are there, so that the weight is a law, whatever the parameters.
    """

    name: str
    table: Table
    absent: float = 0.0
    is_drawn: bool = False
    sums_to_one: bool = False


def expect(
    costs: Sequence[Cost],
    weights: Sequence[Weight],
    domain: Domain,
    always: Container[str] = (),
    kept: str | None = None,
    memory_budget: int | None = None,
) -> dict[tuple[str, str], Tensor]:
    """Return the expectation of each cost under the weights, scaled.

    Args:
        costs: the terms.
        weights: those of the guide's sites.
        domain: the guide's enumerated sites, and all plates.
        always: the sites that weigh every cost in their plates, whether it depends on them or not.
        kept: the plate along which results are kept apart: that of vectorized particles.
        memory_budget: see :func:`contract`.

    Raises:
        UnsupportedModelError: naming a site whose cost lies outside of a plate that it depends on the inside of.
    """
    results: dict[tuple[str, str], Tensor] = {}
    groups = _grouped(costs, weights, always)
    laws = frozenset(weight.name for weight in weights if weight.sums_to_one)
    lawful = {included: group for included, group in groups.items() if included and included <= laws}
    if len({cost.table.names for group in lawful.values() for cost in group}) > _FEW and not is_interpreted():
        together = frozenset().union(*lawful)
        chosen = [weight for weight in weights if weight.name in together]
        group = [cost for members in lawful.values() for cost in members]
        results.update(_expect_by_marginals(group, chosen, weights, domain, kept, memory_budget))
        groups = {included: members for included, members in groups.items() if included not in lawful}
    for included, group in groups.items():
        chosen = [weight for weight in weights if weight.name in included]
        results.update(_expect_alike(group, chosen, weights, domain, kept, memory_budget))
    return {(cost.side, cost.name): results[cost.side, cost.name] for cost in costs}


_FEW = 3
"""Up to so many different tables of costs a sum for each is cheaper than one sum and its gradient."""


def _expect_by_marginals(
    costs: Sequence[Cost],
    chosen: Sequence[Weight],
    weights: Sequence[Weight],
    domain: Domain,
    kept: str | None,
    memory_budget: int | None,
) -> dict[tuple[str, str], Tensor]:
    """Weigh costs by one pass over all weights and one back; laws sum to one, so that those without effect may join."""
    tables = [weight.table for weight in chosen]
    outputs = {cost.table.names: cost.table for cost in costs}
    probes = [Table(torch.zeros_like(each.values), each.names, each.plates) for each in outputs.values()]
    inner = domain.only({name for table in (*tables, *probes) for name in table.names})
    found = marginalize([*tables, *probes], inner, (), memory_budget=memory_budget).tables[len(tables) :]
    by_names = dict(zip(outputs, found, strict=True))
    return {(cost.side, cost.name): _weighed(cost, by_names[cost.table.names], weights, kept) for cost in costs}


def _grouped(
    costs: Sequence[Cost], weights: Sequence[Weight], always: Container[str]
) -> dict[frozenset[str], list[Cost]]:
    """Group costs by the weights that multiply them.

    A site whose values come one run at a time weighs all that is in its plates, so that the runs add up to one.
    """
    groups: dict[frozenset[str], list[Cost]] = {}
    for cost in costs:
        inside = frozenset(
            weight.name
            for weight in weights
            if (cost.parents is None or weight.name in cost.parents or weight.name in always)
            and (weight.table.plates <= cost.table.plates or _reaches_out(cost, weight))
        )
        groups.setdefault(inside, []).append(cost)
    return groups


def _reaches_out(cost: Cost, weight: Weight) -> bool:
    """Whether a cost depends on all elements of a plate that it is outside of; what was drawn can be multiplied."""
    if cost.parents is None or weight.name not in cost.parents:
        return False
    if weight.is_drawn and weight.name not in cost.table.names:
        return True
    outside = ", ".join(map(repr, sorted(weight.table.plates - cost.table.plates)))
    raise UnsupportedModelError(
        f"site {cost.name!r} is outside the plate {outside} and depends on {weight.name!r} inside it, which is "
        f"enumerated: nothing outside a plate may depend on enumerated values inside it; move the site into the plate, "
        f"or take the mark from {weight.name!r}"
    )


def _expect_alike(
    costs: Sequence[Cost],
    chosen: Sequence[Weight],
    weights: Sequence[Weight],
    domain: Domain,
    kept: str | None,
    memory_budget: int | None,
) -> dict[tuple[str, str], Tensor]:
    if not chosen:
        return {(cost.side, cost.name): _weighed(cost, None, weights, kept) for cost in costs}
    results = {}
    alike: dict[frozenset[str], list[Cost]] = {}
    for cost in costs:
        alike.setdefault(cost.table.plates, []).append(cost)
    for plates, group in alike.items():
        tables = [_within(weight.table, plates) for weight in chosen]
        involved = {name for table in tables for name in table.names}.union(*(cost.table.names for cost in group))
        inner = domain.only(involved)
        outputs = list(dict.fromkeys(cost.table.names for cost in group))
        if inner.variables:
            logs: Iterable[Tensor] = contract_all(tables, inner, outputs, LOG, memory_budget)
        else:
            logs = [_product(tables, names) for names in outputs]
        found = dict(zip(outputs, logs, strict=True))
        for cost in group:
            results[cost.side, cost.name] = _weighed(cost, found[cost.table.names].exp(), weights, kept)
    return results


def _within(table: Table, plates: frozenset[str]) -> Table:
    """Multiply a weight over the plates that a cost is outside of."""
    outside = table.plates - plates
    if not outside:
        return table
    dims = [place for place, name in enumerate(table.names) if name in outside]
    names = tuple(name for name in table.names if name not in outside)
    return Table(table.values.sum(dims) if dims else table.values, names, table.plates & plates)


def _product(tables: Sequence[Table], names: tuple[str, ...]) -> Tensor:
    total = align(tables[0].values, tables[0].names, names)
    for table in tables[1:]:
        total = total + align(table.values, table.names, names)
    return total


def _weighed(cost: Cost, weight: Tensor | None, weights: Sequence[Weight], kept: str | None) -> Tensor:
    values = cost.table.values
    if weight is not None:
        # Where nothing can happen, nothing counts: 0 times minus infinity, and the derivative there.
        values = torch.where(weight.detach() == 0, values.new_zeros(()), values) * weight
    dims = [place for place, name in enumerate(cost.table.names) if name != kept]
    total = values.sum(dims) if dims else values
    absent = sum(weight.absent for weight in weights if not weight.table.plates <= cost.table.plates)
    scale = cost.scale if absent == 0.0 else cost.scale * math.exp(absent)
    return total if isinstance(scale, float) and scale == 1.0 else total * scale


def ancestors(parents: Mapping[str, frozenset[str]]) -> dict[str, frozenset[str]]:
    """Return for each site of a guide the sites that it depends on, through others too, and itself."""
    found: dict[str, frozenset[str]] = {}
    for name, direct in parents.items():
        found[name] = frozenset((name,)).union(*(found.get(parent, frozenset((parent,))) for parent in direct))
    return found
