"""Plated tensor variable elimination: from names, sizes and plates to a plan (Obermeyer et al. 2019).

Plates are products. The innermost plates are treated first: their variables are summed out, component by component,
and what is left is multiplied over the plates that no remaining variable is in. Where remaining variables are in all
of the plates together, but in none alone, no such order exists and the sum is refused.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias, final

from aleator.errors import UnsupportedModelError
from aleator_enum_discrete.engine.chain_detection import find_chain
from aleator_enum_discrete.engine.paths import find_path, follow
from aleator_enum_discrete.engine.plan import ChainSum, Join, MatrixForm, Plan, PlateProduct, Step, last_uses, measure
from aleator_enum_discrete.engine.tables import Domain, Layout

__all__ = ["Structure", "find_plan"]

CHAIN_LENGTH = 4  # shorter chains are cheaper step by step
MATRIX_SIZE = 4096  # joint tables with fewer elements are cheaper as a broadcast sum
MATRIX_GAIN = 4  # and so are those not much larger than what goes in

Ordinal: TypeAlias = frozenset[str]


@final
@dataclass(frozen=True, slots=True)
class Structure:
    """All that a plan depends on.

    Attributes:
        domain: the variables and plates.
        tables: the layout of each table.
        outputs: the names that each output keeps; everything is repeated for each of their elements.
        chains: whether chains may be summed at once.
    """

    domain: Domain
    tables: tuple[Layout, ...]
    outputs: tuple[tuple[str, ...], ...] = ((),)
    chains: bool = True


@lru_cache(maxsize=512)
def find_plan(structure: Structure) -> Plan:
    """Return the plan for a structure; the same structure gives the same plan, found once.

    Raises:
        UnsupportedModelError: for plates that do not nest around the variables that they tie together.
        ValueError: for an output that is not declared, a kept variable whose plates are not kept, or tables that do
            not lie in the domain.
    """
    structure.domain.check(structure.tables)
    sizes = structure.domain.sizes()
    builder = _Builder(sizes, [names for names, _, _ in structure.tables], structure.chains)
    results = [_eliminate(structure, output, builder) for output in structure.outputs]
    layouts, steps, kept = builder.used(results)
    drops = last_uses(steps, kept, builder.num_inputs)
    return Plan(layouts, steps, kept, structure.outputs, drops, measure(layouts, steps, drops, sizes))


def _eliminate(structure: Structure, output: tuple[str, ...], builder: _Builder) -> list[int]:
    """Add the steps for one output and return the positions of the values whose product it is."""
    kept = frozenset(output)
    around = _plates_of_variables(structure.domain, kept)
    waiting: dict[Ordinal, list[int]] = {}
    for place, (_, plates, _) in enumerate(structure.tables):
        waiting.setdefault(plates - kept, []).append(place)
    results: list[int] = []
    while waiting:
        innermost = max(waiting, key=lambda plates: (len(plates), sorted(plates)))
        here = {name for name, plates in around.items() if plates == innermost}
        for tables, variables in _components(waiting.pop(innermost), here, builder):
            place = builder.sum_out(tables, variables)
            remaining = [name for name in builder.layouts[place] if name in around]
            outer = frozenset[str]().union(*(around[name] for name in remaining))
            if remaining and outer == innermost:
                raise _no_order(innermost, {name: around[name] for name in remaining})
            place = builder.multiply_over(place, innermost - outer)
            (waiting.setdefault(outer, []) if remaining else results).append(place)
    return results


def _plates_of_variables(domain: Domain, kept: frozenset[str]) -> dict[str, Ordinal]:
    """Return the plates of each variable that is to be summed out, those that are kept left out."""
    unknown = kept - domain.sizes().keys()
    if unknown:
        raise ValueError(f"the output keeps {min(unknown)!r}, which is neither a variable nor a plate of the domain")
    for variable in domain.variables:
        if variable.name in kept and not variable.plates <= kept:
            raise ValueError(
                f"the output keeps the variable {variable.name!r} and not its plates "
                f"{', '.join(map(repr, sorted(variable.plates - kept)))}: keep these too"
            )
    return {each.name: each.plates - kept for each in domain.variables if each.name not in kept}


def _components(
    tables: Sequence[int], variables: Iterable[str], builder: _Builder
) -> list[tuple[list[int], frozenset[str]]]:
    """Part tables into those that variables tie together; return each part with its variables."""
    wanted = frozenset(variables)
    parts: list[tuple[list[int], frozenset[str]]] = []
    for table in tables:
        held = wanted.intersection(builder.layouts[table])
        touched = [part for part in parts if part[1] & held]
        parts = [part for part in parts if not part[1] & held]
        joined = sorted([place for places, _ in touched for place in places] + [table])
        parts.append((joined, held.union(*(names for _, names in touched))))
    return parts


def _no_order(plates: Ordinal, variables: Mapping[str, Ordinal]) -> UnsupportedModelError:
    shown = ", ".join(
        f"{name!r} in {' and '.join(map(repr, sorted(inside))) or 'no plate'}" for name, inside in variables.items()
    )
    return UnsupportedModelError(
        f"the plates {', '.join(map(repr, sorted(plates)))} cross and are tied by variables of both ({shown}): the sum "
        f"over all their values does not factor, and has exponential cost; replace one of these plates by a loop "
        f"(for i in plate(...)), or do not enumerate one of these variables"
    )


@final
class _Builder:
    """Collects steps; one that is already there is used again, so that outputs share what they have in common."""

    def __init__(self, sizes: Mapping[str, int], inputs: Iterable[tuple[str, ...]], chains: bool) -> None:
        self.sizes = sizes
        self.chains = chains
        self.layouts = list(inputs)
        self.num_inputs = len(self.layouts)
        self.steps: list[Step] = []
        self._places: dict[Step, int] = {}

    def sum_out(self, tables: Sequence[int], variables: frozenset[str]) -> int:
        """Multiply tables and sum variables out; return the position of the result."""
        if self.chains and len(variables) >= CHAIN_LENGTH:
            place = self._sum_chain(tables, variables)
            if place is not None:
                return place
        names = [frozenset(self.layouts[table]) for table in tables]
        remaining = frozenset().union(*names) - variables
        present = list(tables)
        for step, _, kept in follow(find_path(names, remaining, self.sizes), names, remaining):
            joined = self._join([present[i] for i in step], kept)
            present = [table for i, table in enumerate(present) if i not in step]
            present.append(joined)
        return present[0]

    def multiply_over(self, place: int, plates: Ordinal) -> int:
        """Multiply a value over plates, also those that it repeats along."""
        if not plates:
            return place
        names = self.layouts[place]
        dims = tuple(i for i, name in enumerate(names) if name in plates)
        repeats = math.prod(self.sizes[name] for name in plates.difference(names))
        if not dims and repeats == 1:
            return place
        return self._add(PlateProduct(place, tuple(name for name in names if name not in plates), dims, repeats))

    def used(
        self, results: Sequence[Sequence[int]]
    ) -> tuple[tuple[tuple[str, ...], ...], tuple[Step, ...], tuple[tuple[int, ...], ...]]:
        """Return layouts, steps and results; every step is used, since none is added without need."""
        return tuple(self.layouts), tuple(self.steps), tuple(map(tuple, results))

    def _add(self, step: Step) -> int:
        place = self._places.get(step)
        if place is None:
            place = self._places[step] = len(self.layouts)
            self.layouts.append(step.names)
            self.steps.append(step)
        return place

    def _join(self, operands: Sequence[int], kept: frozenset[str]) -> int:
        layouts = [self.layouts[place] for place in operands]
        order = tuple(dict.fromkeys(name for layout in layouts for name in layout))
        summed = tuple(name for name in order if name not in kept)
        if len(operands) == 1 and not summed:
            return operands[0]
        size = math.prod(self.sizes[name] for name in order)
        names = tuple(name for name in order if name in kept)
        matrix = self._matrix_form(layouts, summed, size) if len(operands) == 2 else None
        if matrix is not None:
            names = _grouped(layouts, summed)
        joint = (*names, *summed)
        orders = tuple(tuple(layout.index(name) for name in joint if name in layout) for layout in layouts)
        shapes = tuple(tuple(self.sizes[name] if name in layout else 1 for name in joint) for layout in layouts)
        return self._add(Join(tuple(operands), names, summed, orders, shapes, matrix, size))

    def _matrix_form(self, layouts: Sequence[tuple[str, ...]], summed: tuple[str, ...], size: int) -> MatrixForm | None:
        left, right = layouts
        names = _grouped(layouts, summed)
        count = {part: math.prod(self.sizes[name] for name in part) for part in (left, right, names, summed)}
        if not summed or size < MATRIX_SIZE or size < MATRIX_GAIN * max(count.values()):
            return None
        if not (frozenset(left).issuperset(summed) and frozenset(right).issuperset(summed)):
            return None
        batch = [name for name in names if name in left and name in right]
        rows = [name for name in names if name not in right]
        columns = [name for name in names if name not in left]
        of = {"batch": batch, "rows": rows, "columns": columns}
        numbers = {part: math.prod(self.sizes[name] for name in group) for part, group in of.items()}
        return MatrixForm(
            left=tuple(left.index(name) for name in (*batch, *rows, *summed)),
            right=tuple(right.index(name) for name in (*batch, *summed, *columns)),
            summed=count[summed],
            shape=tuple(self.sizes[name] for name in names),
            **numbers,
        )

    def _sum_chain(self, tables: Sequence[int], variables: frozenset[str]) -> int | None:
        layouts = tuple(self.layouts[table] for table in tables)
        chain = find_chain(layouts, variables, self.sizes)
        if chain is None:
            return None
        repeats = math.prod(self.sizes[name] for name in chain.batch)
        size = (len(chain.variables) - 1) * self.sizes[chain.variables[0]] ** 2 * repeats
        step = ChainSum(tuple(tables), chain.batch, chain.variables, chain.unary, chain.pairs, layouts, size)
        return self._add(step)


def _grouped(layouts: Sequence[tuple[str, ...]], summed: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names that remain of a pair: those of both, those of the left, those of the right."""
    left, right = layouts
    both = [name for name in left if name in right and name not in summed]
    return (
        *both,
        *(name for name in left if name not in right and name not in summed),
        *(name for name in right if name not in left and name not in summed),
    )
