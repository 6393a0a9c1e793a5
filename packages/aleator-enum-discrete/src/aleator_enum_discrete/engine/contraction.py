"""Sums over discrete variables of products of tables, with plates as products."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import final

import torch
from torch import Tensor

from aleator_enum_discrete.engine.elimination import Structure, find_plan
from aleator_enum_discrete.engine.execution import run_plan, take_results
from aleator_enum_discrete.engine.plan import Plan
from aleator_enum_discrete.engine.semirings import LOG, Semiring
from aleator_enum_discrete.engine.tables import Domain, Table

__all__ = ["Component", "components", "contract", "contract_all", "plan_contraction", "with_all_variables"]


def contract(
    tables: Sequence[Table],
    domain: Domain,
    output: Sequence[str] = (),
    semiring: Semiring = LOG,
    memory_budget: int | None = None,
) -> Tensor:
    """Return the sum over all variables of the product of all tables, for each element of the names in ``output``.

    Plates are products: a table counts once for each element of its plates, and so does a variable. A plate or variable
    in ``output`` is a batch dim instead: everything is repeated for each of its elements. A variable that no table is
    over is summed all the same.

    Args:
        tables: the factors, in the numbers of the semiring.
        domain: the variables and plates.
        output: the names of the result's dims, in their order.
        semiring: what product and sum mean.
        memory_budget: the most bytes that tables may take at once, with a gradient all that it keeps; see
            :class:`PlanCost`.

    Raises:
        UnsupportedModelError: where plates cross, a table depends on what is inside a plate that it is outside of, or
            the budget does not suffice.
        ValueError: for names or sizes that are not those of the domain.

    Example:
        >>> import torch
        >>> prior = Table(torch.tensor([0.5, 0.5]).log(), ("z",))
        >>> likelihood = Table(torch.tensor([[0.1, 0.2], [0.3, 0.4]]).log(), ("data", "z"), frozenset({"data"}))
        >>> domain = Domain.of([prior, likelihood], {"z": 2}, {"data": 2})
        >>> contract([prior, likelihood], domain).exp()  # 0.5 * 0.1 * 0.3 + 0.5 * 0.2 * 0.4
        tensor(0.0550)
    """
    return contract_all(tables, domain, (tuple(output),), semiring, memory_budget)[0]


def contract_all(
    tables: Sequence[Table],
    domain: Domain,
    outputs: Sequence[Sequence[str]],
    semiring: Semiring = LOG,
    memory_budget: int | None = None,
) -> tuple[Tensor, ...]:
    """Return :func:`contract` for several outputs; what they have in common is computed once."""
    tables = with_all_variables(tables, domain, semiring)
    plan = plan_contraction(tables, domain, outputs, semiring.chain is not None)
    like = tables[0].values if tables else torch.empty(())
    sizes = domain.sizes()
    has_gradient = torch.is_grad_enabled() and any(table.values.requires_grad for table in tables)
    needed = plan.cost.saved if has_gradient else plan.cost.peak
    plan.cost.check_fits(needed, like.element_size(), memory_budget, sizes)
    values = run_plan(plan, [table.values for table in tables], semiring, drops=not has_gradient)
    return tuple(take_results(plan, values, semiring, sizes, like))


def plan_contraction(
    tables: Sequence[Table], domain: Domain, outputs: Sequence[Sequence[str]] = ((),), chains: bool = True
) -> Plan:
    """Return the plan for a contraction, found once for each structure of names and sizes.

    Raises:
        UnsupportedModelError, ValueError: as :func:`contract`.

    Example:
        >>> import torch
        >>> table = Table(torch.zeros(3, 4), ("a", "b"))
        >>> plan_contraction([table], Domain.of([table], {"a": 3, "b": 4})).elimination_order()
        (('a', 'b'),)
    """
    layouts = tuple(table.layout() for table in tables)
    structure = Structure(domain, layouts, tuple(map(tuple, outputs)), chains)
    return find_plan(structure)


def with_all_variables(tables: Sequence[Table], domain: Domain, semiring: Semiring) -> list[Table]:
    """Return the tables in one dtype, the widest, and a table of ones for each variable that none of them is over."""
    met = {name for table in tables for name in table.names}
    like = tables[0].values if tables else torch.empty(())
    dtype = like.dtype
    if any(table.values.dtype is not dtype for table in tables):
        dtype = reduce(torch.promote_types, (table.values.dtype for table in tables), dtype)
        tables = [Table(table.values.to(dtype), table.names, table.plates) for table in tables]
    return [
        *tables,
        *(
            Table(like.new_full((variable.size,), semiring.one, dtype=dtype), (variable.name,), variable.plates)
            for variable in domain.variables
            if variable.name not in met
        ),
    ]


@final
@dataclass(frozen=True, slots=True)
class Component:
    """Tables that variables tie together; the whole sum is the product of its components.

    Attributes:
        tables: their positions.
        variables: those that tie them; none for a table by itself that is over no variable.
        plates: the plates that all of them are in.
        kept: the kept variables that they are over.
    """

    tables: tuple[int, ...]
    variables: tuple[str, ...]
    plates: frozenset[str]
    kept: tuple[str, ...] = ()

    @property
    def output(self) -> tuple[str, ...]:
        """The names that give one sum for each element of the plates and each value of what is kept."""
        return (*sorted(self.plates), *self.kept)


def components(tables: Sequence[Table], domain: Domain, kept: Sequence[str] = ()) -> tuple[Component, ...]:
    """Part tables into components, for what must be the same within each one and may differ between: a scale.

    Args:
        tables: the factors.
        domain: the variables and plates.
        kept: variables that are not to be summed out: they tie nothing.

    Example:
        >>> import torch
        >>> tables = [Table(torch.zeros(2), ("a",)), Table(torch.zeros(2), ("b",)), Table(torch.zeros(2), ("a",))]
        >>> [part.tables for part in components(tables, Domain.of(tables, {"a": 2, "b": 2}))]
        [(0, 2), (1,)]
    """
    around = {variable.name: variable.plates for variable in domain.variables if variable.name not in kept}
    parts: list[tuple[list[int], set[str]]] = []
    for place, table in enumerate(tables):
        held = {name for name in table.names if name in around}
        touched = [part for part in parts if part[1] & held]
        parts = [part for part in parts if not part[1] & held]
        joined = [place]
        for places, names in touched:
            joined, held = joined + places, held | names
        parts.append((sorted(joined), held))
    return tuple(
        Component(
            tuple(places),
            tuple(name for name in around if name in held),
            frozenset.intersection(*(tables[place].plates for place in places), *(around[name] for name in held)),
            tuple(name for name in kept if any(name in tables[place].names for place in places)),
        )
        for places, held in sorted(parts, key=lambda part: part[0])
    )
