"""The tables of a chain as two tensors over time."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from aleator.distributions.joint_shapes import broadcast_shapes
from aleator_enum_discrete.engine.plan import ChainSum
from aleator_enum_discrete.engine.semirings import Semiring
from aleator_enum_discrete.engine.tables import align

__all__ = ["stack_chain"]

STEP, PREVIOUS, STATE = "(step)", "(previous)", "(state)"


def stack_chain(step: ChainSum, operands: Sequence[Tensor], semiring: Semiring) -> tuple[Tensor, Tensor]:
    """Return transitions ``(T - 1, *batch, K, K)`` and observations ``(T, *batch, K)``; batch dims may have size 1."""
    roles: list[dict[str, str]] = [{variable: STATE} for variable in step.summed]
    pair_roles = [{before: PREVIOUS, after: STATE} for before, after in zip(step.summed, step.summed[1:], strict=False)]
    transition = _stack(step, operands, semiring, step.pairs, pair_roles, (*step.names, PREVIOUS, STATE))
    assert transition is not None
    observation = _stack(step, operands, semiring, step.unary, roles, (*step.names, STATE))
    if observation is None:
        shape = (len(step.summed), *[1] * len(step.names), transition.shape[-1])
        observation = transition.new_full(shape, semiring.one)
    return transition, observation


def _stack(
    step: ChainSum,
    operands: Sequence[Tensor],
    semiring: Semiring,
    groups: Sequence[tuple[int, ...]],
    roles: Sequence[dict[str, str]],
    target: tuple[str, ...],
) -> Tensor | None:
    """Stack the product of each group of tables; ``None`` where all groups are empty."""
    if not any(groups):
        return None
    named = [
        [tuple(role.get(name, name) for name in step.operand_names[place]) for place in group]
        for group, role in zip(groups, roles, strict=True)
    ]
    if all(len(group) == 1 for group in groups):
        tables = _stack_alike([operands[group[0]] for group in groups], [each[0] for each in named], target)
        if tables is not None:
            return tables
    products: list[Tensor | None] = []
    for group, names in zip(groups, named, strict=True):
        aligned = [align(operands[place], layout, target) for place, layout in zip(group, names, strict=True)]
        products.append(semiring.multiply_all(aligned) if aligned else None)
    like = next(each for each in products if each is not None)
    blank = like.new_full((1,) * like.dim(), semiring.one)
    filled = torch.broadcast_tensors(*(blank if each is None else each for each in products))  # type: ignore[no-untyped-call]  # torch's
    return torch.stack(filled)


def _stack_alike(
    tables: Sequence[Tensor], layouts: Sequence[tuple[str, ...]], target: tuple[str, ...]
) -> Tensor | None:
    """Stack one table for each step: those that are laid out alike at once; ``None`` where hardly any two are.

    The usual case is one layout, or, where the dims of two neighbours take turns, two.
    """
    alike: dict[tuple[tuple[str, ...], torch.Size], list[int]] = {}
    for place, (table, layout) in enumerate(zip(tables, layouts, strict=True)):
        alike.setdefault((layout, table.shape), []).append(place)
    if len(alike) > max(1, len(tables) // 4):
        return None
    stacks = [
        align(torch.stack([tables[place] for place in places]), (STEP, *layout), (STEP, *target))
        for (layout, _), places in alike.items()
    ]
    if len(stacks) == 1:
        return stacks[0]
    shape = broadcast_shapes(*(stack.shape[1:] for stack in stacks))
    stacks = [stack.expand(-1, *shape) for stack in stacks]
    if list(alike.values()) == [[*range(start, len(tables), 2)] for start in range(2)]:
        both = stacks[1].shape[0]
        turns = torch.stack([stacks[0][:both], stacks[1]], 1).flatten(0, 1)
        return turns if stacks[0].shape[0] == both else torch.cat([turns, stacks[0][both:]])
    joined = torch.cat(stacks)
    order = [place for places in alike.values() for place in places]
    back = sorted(range(len(order)), key=order.__getitem__)
    return joined.index_select(0, torch.tensor(back, device=joined.device))
