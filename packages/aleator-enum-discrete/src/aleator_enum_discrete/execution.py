"""Run a plan on tensors, in a semiring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from aleator_enum_discrete.plan import ChainSum, Join, MatrixForm, Plan, PlateProduct
from aleator_enum_discrete.semirings import Semiring

__all__ = ["align", "chain_tensors", "run_plan", "take_results"]


def run_plan(plan: Plan, tensors: Sequence[Tensor], semiring: Semiring) -> list[Tensor]:
    """Return every value of a plan: the inputs, then the results of its steps."""
    values = list(tensors)
    for step in plan.steps:
        if isinstance(step, Join):
            values.append(_join(step, [values[place] for place in step.operands], semiring))
        elif isinstance(step, PlateProduct):
            values.append(semiring.product(values[step.operand], step.dims, step.repeats))
        else:
            transition, observation = chain_tensors(step, [values[place] for place in step.operands], semiring)
            assert semiring.chain is not None
            values.append(semiring.chain(transition, observation))
    return values


def take_results(
    plan: Plan, values: Sequence[Tensor], semiring: Semiring, sizes: Mapping[str, int], like: Tensor
) -> list[Tensor]:
    """Return the outputs of a plan whose values are given, each over all of its names in their order."""
    outputs = []
    for names, places in zip(plan.outputs, plan.results, strict=True):
        shape = tuple(sizes[name] for name in names)
        aligned = [align(values[place], plan.layouts[place], names) for place in places]
        product = semiring.multiply_all(aligned) if aligned else like.new_full(shape, semiring.one)
        outputs.append(product if product.shape == shape else product.expand(shape))
    return outputs


def align(tensor: Tensor, names: Sequence[str], target: Sequence[str]) -> Tensor:
    """Permute and view a tensor so that its named dims stand where they stand in ``target``; the others get size 1."""
    if tuple(names) == tuple(target):
        return tensor
    order = [names.index(name) for name in target if name in names]
    shape = [tensor.shape[names.index(name)] if name in names else 1 for name in target]
    return tensor.permute(order).reshape(shape)


def chain_tensors(step: ChainSum, operands: Sequence[Tensor], semiring: Semiring) -> tuple[Tensor, Tensor]:
    """Stack the tables of a chain: ``(T - 1, *batch, K, K)`` and ``(T, *batch, K)``; batch dims may have size 1."""
    unary, pairs = [], []
    for variable, places in zip(step.summed, step.unary, strict=True):
        target = (*step.names, variable)
        aligned = [align(operands[place], step.operand_names[place], target) for place in places]
        unary.append(semiring.multiply_all(aligned) if aligned else None)
    for previous, variable, places in zip(step.summed, step.summed[1:], step.pairs, strict=False):
        target = (*step.names, previous, variable)
        pairs.append(
            semiring.multiply_all([align(operands[place], step.operand_names[place], target) for place in places])
        )
    size = pairs[0].shape[-1]
    blank = pairs[0].new_full((1,) * len(step.names) + (size,), semiring.one)
    return _stack(pairs), _stack([blank if each is None else each for each in unary])


def _stack(tensors: Sequence[Tensor]) -> Tensor:
    shapes = {tuple(tensor.shape) for tensor in tensors}
    if len(shapes) > 1:
        shape = torch.broadcast_shapes(*shapes)  # type: ignore[no-untyped-call]  # torch's
        tensors = [tensor.expand(shape) for tensor in tensors]
    return torch.stack(list(tensors))


def _join(step: Join, operands: Sequence[Tensor], semiring: Semiring) -> Tensor:
    if step.matrix is not None:
        return _join_matrices(step.matrix, operands[0], operands[1], semiring)
    aligned = []
    for tensor, order, shape in zip(operands, step.orders, step.shapes, strict=True):
        if order != tuple(range(len(order))):
            tensor = tensor.permute(order)
        aligned.append(tensor if tensor.shape == shape else tensor.reshape(shape))
    product = semiring.multiply_all(aligned)
    return semiring.sum(product, len(step.summed)) if step.summed else product


def _join_matrices(form: MatrixForm, left: Tensor, right: Tensor, semiring: Semiring) -> Tensor:
    rows = left.permute(form.left).reshape(form.batch, form.rows, form.summed)
    columns = right.permute(form.right).reshape(form.batch, form.summed, form.columns)
    return semiring.multiply_matrices(rows, columns).reshape(form.shape)
