"""One value for every variable: the most probable ones together, or a draw from their joint posterior.

A pass forward through a plan keeps every table; a pass back chooses the variables of each sum given those that were
summed out after it. Each sum is met once, so the cost is linear in the number of variables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from aleator_enum_discrete.engine.chain_stacking import stack_chain
from aleator_enum_discrete.engine.contraction import plan_contraction, with_all_variables
from aleator_enum_discrete.engine.execution import run_plan, take_results
from aleator_enum_discrete.engine.plan import ChainSum, Join, Plan, PlateProduct
from aleator_enum_discrete.engine.semirings import MAX_PLUS, SAMPLING, ChooseSequences, Semiring
from aleator_enum_discrete.engine.tables import Domain, Table, align

__all__ = ["SAMPLE", "Assignment", "draw_jointly", "maximize"]

SAMPLE = "(sample)"


@final
@dataclass(frozen=True, slots=True)
class Assignment:
    """Values of all variables.

    Attributes:
        total: the logarithm of the largest term (:func:`maximize`) or of the sum (:func:`draw_jointly`), over ``kept``.
        values: for each variable a table of indices, over the samples where there are several, then over the variable's
            plates and what was kept, in the order of their names.
    """

    total: Tensor
    values: Mapping[str, Table]


def maximize(
    tables: Sequence[Table], domain: Domain, kept: Sequence[str] = (), memory_budget: int | None = None
) -> Assignment:
    """Return the values of all variables together that have the largest product, and the logarithm of that product.

    Where several have it, each sum takes the first index, from the last sum to the first. The value has a gradient,
    that of the tables' chosen elements.

    Args:
        tables: logarithms.
        domain: the variables and plates.
        kept: plates to treat as batch dims, see :func:`contract`.
        memory_budget: see :func:`contract`.

    Raises:
        UnsupportedModelError, ValueError: as :func:`contract`.

    Example:
        >>> import torch
        >>> pair = Table(torch.tensor([[0.3, 0.0], [0.2, 0.4]]).log(), ("a", "b"))
        >>> found = maximize([pair], Domain.of([pair], {"a": 2, "b": 2}))
        >>> found.values["a"].values, found.values["b"].values
        (tensor(1), tensor(1))
    """
    return _assign(tables, domain, tuple(kept), MAX_PLUS, None, memory_budget)


def draw_jointly(
    tables: Sequence[Table],
    domain: Domain,
    num_samples: int | None = None,
    kept: Sequence[str] = (),
    memory_budget: int | None = None,
) -> Assignment:
    """Return exact draws of all variables together, with probabilities proportional to the product of the tables.

    A variable is drawn apart for each element of its plates. Where no values are possible, draws mean nothing.

    Args:
        tables: logarithms.
        domain: the variables and plates.
        num_samples: how many draws; ``None`` for one, without a dim for it.
        kept: plates to treat as batch dims, see :func:`contract`.
        memory_budget: see :func:`contract`.

    Raises:
        UnsupportedModelError, ValueError: as :func:`contract`.

    Example:
        >>> import torch
        >>> same = Table(torch.eye(3).log(), ("a", "b"))
        >>> drawn = draw_jointly([same], Domain.of([same], {"a": 3, "b": 3}), num_samples=10).values
        >>> bool((drawn["a"].values == drawn["b"].values).all())
        True
    """
    with torch.no_grad():
        return _assign(tables, domain, tuple(kept), SAMPLING, num_samples, memory_budget)


def _assign(
    tables: Sequence[Table],
    domain: Domain,
    kept: tuple[str, ...],
    semiring: Semiring,
    num_samples: int | None,
    memory_budget: int | None,
) -> Assignment:
    sizes = domain.sizes()
    variables = {variable.name for variable in domain.variables}
    if variables.intersection(kept):
        raise ValueError(f"only plates are kept, found the variable {min(variables.intersection(kept))!r}")
    tables = with_all_variables(tables, domain, semiring)
    plan = plan_contraction(tables, domain, (kept,))
    like = tables[0].values if tables else torch.empty(())
    plan.cost.check_fits(plan.cost.held, like.element_size(), memory_budget, sizes)
    opened: dict[int, ChooseSequences] = {}
    values = run_plan(plan, [table.values for table in tables], semiring, opened=opened)
    (total,) = take_results(plan, values, semiring, sizes, like)
    with torch.no_grad():
        around = {each.name: tuple(sorted(each.plates.union(kept))) for each in domain.variables}
        return Assignment(total, _choose_backward(plan, values, opened, semiring, sizes, around, num_samples))


def _choose_backward(
    plan: Plan,
    values: Mapping[int, Tensor],
    opened: Mapping[int, ChooseSequences],
    semiring: Semiring,
    sizes: Mapping[str, int],
    around: Mapping[str, tuple[str, ...]],
    num_samples: int | None,
) -> dict[str, Table]:
    chosen: dict[str, Table] = {}
    extents = dict(sizes) if num_samples is None else {**sizes, SAMPLE: num_samples}
    for place, step in reversed(list(enumerate(plan.steps, plan.num_inputs))):
        if isinstance(step, PlateProduct) or not step.summed:
            continue
        inside = around[step.summed[0]]
        free = inside if num_samples is None else (SAMPLE, *inside)
        if isinstance(step, ChainSum) and frozenset(step.names) == frozenset(inside):
            names = step.names if num_samples is None else (SAMPLE, *step.names)
            states = opened[place](num_samples).unbind(0 if num_samples is None else 1)
            chosen.update(_apart(step, states, names, free))
            continue
        operands = [_given(values[each], plan.layouts[each], chosen, free) for each in step.operands]
        if isinstance(step, Join):
            chosen.update(_choose(step, operands, semiring, extents, free))
        else:
            chosen.update(_choose_chain(step, operands, semiring, extents, free))
    return {name: chosen[name] for name in around}


def _choose(
    step: Join,
    operands: Sequence[tuple[Tensor, tuple[str, ...]]],
    semiring: Semiring,
    sizes: Mapping[str, int],
    free: tuple[str, ...],
) -> dict[str, Table]:
    target = (*free, *step.summed)
    scores = semiring.multiply_all([align(tensor, names, target) for tensor, names in operands])
    scores = scores.expand([sizes[name] for name in target]).flatten(len(free))
    assert semiring.choose is not None
    index = semiring.choose(scores)
    found = {}
    for name in reversed(step.summed):
        found[name] = Table(index % sizes[name], free)
        index = index.div(sizes[name], rounding_mode="floor")
    return found


def _choose_chain(
    step: ChainSum,
    operands: Sequence[tuple[Tensor, tuple[str, ...]]],
    semiring: Semiring,
    sizes: Mapping[str, int],
    free: tuple[str, ...],
) -> dict[str, Table]:
    assert semiring.open_chain is not None
    several = SAMPLE in free and not any(SAMPLE in names for _, names in operands)
    batch = free[1:] if several else free
    layouts = tuple(names for _, names in operands)
    given = replace(step, names=batch, operand_names=layouts)
    transition, observation = stack_chain(given, [tensor for tensor, _ in operands], semiring)
    length, states = observation.shape[0], observation.shape[-1]
    observation = observation.expand(length, *(sizes[name] for name in batch), states)
    index = semiring.open_chain(transition, observation)[1](sizes[SAMPLE] if several else None)
    return _apart(step, index.unbind(1 if several else 0), free, free)


def _apart(step: ChainSum, states: Sequence[Tensor], names: tuple[str, ...], free: tuple[str, ...]) -> dict[str, Table]:
    return {name: Table(align(each, names, free), free) for name, each in zip(step.summed, states, strict=True)}


def _given(
    tensor: Tensor, names: tuple[str, ...], chosen: Mapping[str, Table], free: tuple[str, ...]
) -> tuple[Tensor, tuple[str, ...]]:
    """Return a table at the values that are chosen, and the names of its dims: some of ``free``, then the rest."""
    fixed = [name for name in names if name in chosen]
    if not fixed:
        return tensor, names
    repeated = tuple(name for name in free if name in names or any(name in chosen[each].names for each in fixed))
    rest = tuple(name for name in names if name not in chosen and name not in free)
    target = (*repeated, *rest)
    index = []
    for size, name in zip(tensor.shape, names, strict=True):
        if name in chosen:
            index.append(align(chosen[name].values, chosen[name].names, target))
        else:
            index.append(align(torch.arange(size, device=tensor.device), (name,), target))
    return tensor[tuple(index)], target
