"""The posterior of every variable by one pass back through the sum: the gradient of its logarithm (Darwiche 2003)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from aleator_enum_discrete.engine.contraction import contract, with_all_variables
from aleator_enum_discrete.engine.semirings import LOG
from aleator_enum_discrete.engine.tables import Domain, Table, Variable

__all__ = ["Posterior", "marginalize", "weighted_sum"]


@final
@dataclass(frozen=True, slots=True)
class Posterior:
    """The logarithm of a sum, and what its terms say of variables and of tables.

    Attributes:
        total: the logarithm of the sum, over the names that were kept.
        variables: for each variable its probabilities, over its plates in the order of their names, then its values;
            all zeros where nothing is possible.
        tables: for each table its weight: the posterior probability of each of its elements, in the shape of its
            values. Where it repeats along a plate, weights of the repetitions are added.
    """

    total: Tensor
    variables: Mapping[str, Table]
    tables: tuple[Tensor, ...]


def marginalize(
    tables: Sequence[Table],
    domain: Domain,
    variables: Sequence[str] | None = None,
    kept: Sequence[str] = (),
    memory_budget: int | None = None,
) -> Posterior:
    """Return the posterior probabilities of variables (of all where none are named) and of the tables' elements.

    The cost is that of the sum and one gradient, for any number of variables. Where tables require gradients, the
    probabilities can be differentiated.

    Args:
        tables: logarithms.
        domain: the variables and plates.
        variables: whose probabilities are asked for.
        kept: plates to treat as batch dims, see :func:`contract`; for each element there is a total.
        memory_budget: see :func:`contract`.

    Raises:
        UnsupportedModelError, ValueError: as :func:`contract`.

    Example:
        >>> import torch
        >>> prior = Table(torch.tensor([0.5, 0.5]).log(), ("z",))
        >>> likelihood = Table(torch.tensor([0.1, 0.3]).log(), ("z",))
        >>> marginalize([prior, likelihood], Domain.of([prior], {"z": 2})).variables["z"].values
        tensor([0.2500, 0.7500])
    """
    if any(variable.name in kept for variable in domain.variables):
        raise ValueError(f"only plates are kept, found a variable among {', '.join(map(repr, kept))}")
    create_graph = torch.is_grad_enabled() and any(table.values.requires_grad for table in tables)
    wanted = [each for each in domain.variables if variables is None or each.name in variables]
    with torch.enable_grad():
        given = [_leaf(table, create_graph) for table in with_all_variables(tables, domain, LOG)]
        homes = {variable.name: _home(variable, given) for variable in wanted}
        sizes = domain.sizes()
        for variable in wanted:
            if homes[variable.name] is None:
                homes[variable.name] = len(given)
                given.append(_probe(variable, sizes, given[0].values))
        total = contract(given, domain, kept, memory_budget=memory_budget)
        inputs = [table.values for table in given]
        if not total.requires_grad:
            weights: Sequence[Tensor] = [torch.zeros_like(each) for each in inputs]
        else:
            weights = torch.autograd.grad(total.sum(), inputs, create_graph=create_graph, materialize_grads=True)
    if not create_graph:
        total = total.detach()
    found = {}
    for variable in wanted:
        place = homes[variable.name]
        assert place is not None
        found[variable.name] = _sum_to(variable, given[place].names, weights[place])
    return Posterior(total, found, tuple(weights[: len(tables)]))


def weighted_sum(weights: Tensor, values: Tensor) -> Tensor:
    """Return the sum of weights times values, elementwise; an infinite value without weight counts nothing.

    Example:
        >>> import torch
        >>> weighted_sum(torch.tensor([0.5, 0.5, 0.0]), torch.tensor([1.0, 3.0, -torch.inf]))
        tensor(2.)
    """
    absent = (weights == 0) & ~values.isfinite()
    return (weights * values.masked_fill(absent, 0.0)).sum()


def _leaf(table: Table, create_graph: bool) -> Table:
    """The same table as a tensor of its own, so that its gradient counts this use and no other."""
    values = table.values
    if create_graph and values.requires_grad:
        return Table(values.view_as(values), table.names, table.plates)
    return Table(values.detach().requires_grad_(), table.names, table.plates)


def _home(variable: Variable, tables: Sequence[Table]) -> int | None:
    """The smallest table that the variable's probabilities can be read off: in its plates and in no others."""
    needed = {variable.name, *variable.plates}
    fitting = [
        place for place, table in enumerate(tables) if table.plates == variable.plates and needed.issubset(table.names)
    ]
    return min(fitting, key=lambda place: tables[place].values.numel(), default=None)


def _probe(variable: Variable, sizes: Mapping[str, int], like: Tensor) -> Table:
    names = (*sorted(variable.plates), variable.name)
    return Table(like.new_zeros([sizes[name] for name in names]).requires_grad_(), names, variable.plates)


def _sum_to(variable: Variable, names: tuple[str, ...], weight: Tensor) -> Table:
    target = (*sorted(variable.plates), variable.name)
    others = tuple(dim for dim, name in enumerate(names) if name not in target)
    remaining = [name for name in names if name in target]
    weight = weight.sum(others) if others else weight
    return Table(weight.permute([remaining.index(name) for name in target]), target, variable.plates)
