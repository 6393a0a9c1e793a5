"""Run a plan on tensors, in a semiring."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from aleator_enum_discrete.engine.chain_stacking import stack_chain
from aleator_enum_discrete.engine.plan import Join, MatrixForm, Plan, PlateProduct
from aleator_enum_discrete.engine.semirings import ChooseSequences, Semiring
from aleator_enum_discrete.engine.tables import align

__all__ = ["run_plan", "take_results"]


def run_plan(
    plan: Plan,
    tensors: Sequence[Tensor],
    semiring: Semiring,
    drops: bool = False,
    opened: dict[int, ChooseSequences] | None = None,
) -> dict[int, Tensor]:
    """Return the values of a plan by their positions: the inputs, then the results of its steps.

    Args:
        plan: what to do.
        tensors: the inputs.
        semiring: what product and sum mean.
        drops: whether to drop what later steps and the outputs do not need.
        opened: gets for the position of each chain's sum the function that chooses by its terms.
    """
    values = dict(enumerate(tensors))
    for place, (step, unneeded) in enumerate(zip(plan.steps, plan.drops, strict=True), len(values)):
        if isinstance(step, Join):
            values[place] = _join(step, [values[each] for each in step.operands], semiring)
        elif isinstance(step, PlateProduct):
            values[place] = semiring.product(values[step.operand], step.dims, step.repeats)
        else:
            transition, observation = stack_chain(step, [values[each] for each in step.operands], semiring)
            if opened is None:
                assert semiring.chain is not None
                values[place] = semiring.chain(transition, observation)
            else:
                assert semiring.open_chain is not None
                values[place], opened[place] = semiring.open_chain(transition, observation)
        if drops:
            for each in unneeded:
                del values[each]
    return values


def take_results(
    plan: Plan, values: Mapping[int, Tensor], semiring: Semiring, sizes: Mapping[str, int], like: Tensor
) -> list[Tensor]:
    """Return the outputs of a plan whose values are given, each over all of its names in their order."""
    outputs = []
    for names, places in zip(plan.outputs, plan.results, strict=True):
        shape = tuple(sizes[name] for name in names)
        aligned = [align(values[place], plan.layouts[place], names) for place in places]
        product = semiring.multiply_all(aligned) if aligned else like.new_full(shape, semiring.one)
        outputs.append(product if product.shape == shape else product.expand(shape))
    return outputs


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
