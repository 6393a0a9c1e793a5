"""The recorded order of a contraction: its steps, what they cost, and which variables make it expensive."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias, final

from aleator.errors import UnsupportedModelError

__all__ = ["ChainSum", "Join", "MatrixForm", "Plan", "PlanCost", "PlateProduct", "Step", "readable_bytes"]


@final
@dataclass(frozen=True, slots=True)
class MatrixForm:
    """How a join of two tables is one product of batches of matrices.

    Attributes:
        left, right: for each operand, the order of its dims that makes it ``(batch, left, summed)`` and
            ``(batch, summed, right)``.
        batch, rows, summed, columns: the number of elements of each group of names.
        shape: the shape of the result, over the names that remain.
    """

    left: tuple[int, ...]
    right: tuple[int, ...]
    batch: int
    rows: int
    summed: int
    columns: int
    shape: tuple[int, ...]


@final
@dataclass(frozen=True, slots=True)
class Join:
    """Multiply tables and sum some names out.

    Attributes:
        operands: positions of the tables: inputs first, then the results of the steps.
        names: the dims of the result.
        summed: the names that are summed out; they are the last dims of the joint table.
        orders, shapes: how each operand is permuted and viewed so that it broadcasts over ``(*names, *summed)``.
        matrix: set where it pays to do it as a product of matrices.
        size: the elements of the joint table.
    """

    operands: tuple[int, ...]
    names: tuple[str, ...]
    summed: tuple[str, ...]
    orders: tuple[tuple[int, ...], ...]
    shapes: tuple[tuple[int, ...], ...]
    matrix: MatrixForm | None
    size: int


@final
@dataclass(frozen=True, slots=True)
class PlateProduct:
    """Multiply a table over plates.

    Attributes:
        operand: the position of the table.
        names: the dims of the result.
        dims: the positions of the plates that are dims of the table.
        repeats: how often the rest is repeated: the sizes of the plates that are not.
    """

    operand: int
    names: tuple[str, ...]
    dims: tuple[int, ...]
    repeats: int


@final
@dataclass(frozen=True, slots=True)
class ChainSum:
    """Sum out variables that form a chain, at once.

    Attributes:
        operands: positions of the tables.
        names: the dims of the result; each only repeats the chain.
        summed: the variables in the order of the chain.
        unary: for each variable, which of ``operands`` (by place) are over it alone.
        pairs: for each variable but the first, which are over it and the one before.
        operand_names: the dims of each operand.
        size: the elements of all its joint tables.
    """

    operands: tuple[int, ...]
    names: tuple[str, ...]
    summed: tuple[str, ...]
    unary: tuple[tuple[int, ...], ...]
    pairs: tuple[tuple[int, ...], ...]
    operand_names: tuple[tuple[str, ...], ...]
    size: int


Step: TypeAlias = Join | PlateProduct | ChainSum


@final
@dataclass(frozen=True, slots=True)
class PlanCost:
    """What a plan asks for, counted in elements of tables.

    Attributes:
        multiplications: the elements of all joint tables, one addition and one multiplication for each.
        largest: the elements of the largest table that is made.
        largest_names: the names that meet in it.
        peak: the most elements alive at once when what is made is dropped after its last use, inputs included.
        held: the same where nothing is dropped: what choosing values backward needs.
        saved: the elements of everything that is made, joint tables too: what a gradient keeps.
    """

    multiplications: int
    largest: int
    largest_names: tuple[str, ...]
    peak: int
    held: int
    saved: int

    def check_fits(self, elements: int, bytes_per_element: int, budget: int | None, sizes: Mapping[str, int]) -> None:
        """Refuse a plan that needs so many elements at once, of the numbers above, if they are over a budget in bytes.

        Args:
            elements: :attr:`peak`, :attr:`held` or :attr:`saved`.
            bytes_per_element: of the tables' dtype.
            budget: ``None`` is no limit.
            sizes: of the names.

        Raises:
            UnsupportedModelError: naming the variables that meet in the largest table.
        """
        needed = elements * bytes_per_element
        if budget is None or needed <= budget:
            return
        culprits = ", ".join(f"{name!r} ({sizes[name]})" for name in self.largest_names)
        raise UnsupportedModelError(
            f"the exact sum needs {readable_bytes(needed)} at once, more than its budget of {readable_bytes(budget)}; "
            f"its largest table, {readable_bytes(self.largest * bytes_per_element)}, is over {culprits}; "
            f"give fewer of these sites to enumeration, fewer values, or a larger memory budget"
        )


@final
@dataclass(frozen=True, slots=True)
class Plan:
    """How to get outputs from tables, found once for each structure of names and sizes.

    Attributes:
        layouts: the dims of every value: inputs first, then the results of the steps.
        steps: what to do, in order.
        results: for each output, the positions of the values whose product it is.
        outputs: for each output, the names of its dims.
        drops: for each step, the results of steps that are not needed after it.
        cost: what it asks for.
    """

    layouts: tuple[tuple[str, ...], ...]
    steps: tuple[Step, ...]
    results: tuple[tuple[int, ...], ...]
    outputs: tuple[tuple[str, ...], ...]
    drops: tuple[tuple[int, ...], ...]
    cost: PlanCost

    @property
    def num_inputs(self) -> int:
        """How many tables go in."""
        return len(self.layouts) - len(self.steps)

    def elimination_order(self) -> tuple[tuple[str, ...], ...]:
        """Return the variables in the order in which they are summed out, those of one step together."""
        return tuple(step.summed for step in self.steps if not isinstance(step, PlateProduct) and step.summed)


def operands_of(step: Step) -> tuple[int, ...]:
    """Return the positions of the values that a step reads."""
    return (step.operand,) if isinstance(step, PlateProduct) else step.operands


def last_uses(steps: Sequence[Step], results: Sequence[Sequence[int]], num_inputs: int) -> tuple[tuple[int, ...], ...]:
    """Return for each step which results of steps nothing needs after it; inputs belong to the caller."""
    last = {place: index for index, step in enumerate(steps) for place in operands_of(step) if place >= num_inputs}
    for result in results:
        for place in result:
            last.pop(place, None)
    drops: list[list[int]] = [[] for _ in steps]
    for place, index in last.items():
        drops[index].append(place)
    return tuple(map(tuple, drops))


def measure(
    layouts: Sequence[tuple[str, ...]],
    steps: Sequence[Step],
    drops: Sequence[Sequence[int]],
    sizes: Mapping[str, int],
) -> PlanCost:
    """Count what a plan asks for."""
    elements = [math.prod(sizes[name] for name in names) for names in layouts]
    first = len(layouts) - len(steps)
    alive = kept = sum(elements[:first])
    peak, held, saved, multiplications = alive, kept, alive, 0
    largest, largest_names = max(elements[:first], default=0), max(layouts[:first], default=(), key=len)
    for index, step in enumerate(steps):
        work = elements[step.operand] if isinstance(step, PlateProduct) else step.size
        matrix = isinstance(step, Join) and step.matrix is not None
        joint = 0 if isinstance(step, PlateProduct) or matrix or not step.summed else work
        made = elements[first + index]
        multiplications += work
        alive, kept, saved = alive + made, kept + made, saved + joint + made
        peak, held = max(peak, alive + joint), max(held, kept + joint)
        if max(joint, made) > largest:
            names = step.names if isinstance(step, PlateProduct) or matrix else (*step.names, *step.summed)
            largest, largest_names = max(joint, made), names
        alive -= sum(elements[place] for place in drops[index])
    return PlanCost(multiplications, largest, largest_names, peak, held, saved)


def readable_bytes(count: int) -> str:
    """Return a number of bytes as people say it."""
    value: float = count
    units = ["bytes", "KiB", "MiB", "GiB", "TiB", "PiB"]
    while value >= 1024 and len(units) > 1:
        value, units = value / 1024, units[1:]
    return f"{value:.3g} {units[0]}" if value < 1e6 else f"{value:.1e} {units[0]}"
