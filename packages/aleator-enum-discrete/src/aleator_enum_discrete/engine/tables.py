"""Tables whose dims have names, and the domain that the names range over."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias, final

from torch import Tensor

from aleator.errors import UnsupportedModelError

__all__ = ["Domain", "Layout", "Table", "Variable", "align"]

Layout: TypeAlias = tuple[tuple[str, ...], frozenset[str], tuple[int, ...]]


@final
@dataclass(frozen=True, slots=True)
class Variable:
    """A discrete variable: one copy for each element of the plates that it is in.

    Attributes:
        name: its name, and the name of its dim in every table.
        size: how many values it has.
        plates: the plates around it.
    """

    name: str
    size: int
    plates: frozenset[str] = frozenset()


@final
@dataclass(frozen=True, slots=True)
class Table:
    """A tensor with a name for each dim: a factor over variables, repeated along plates.

    Attributes:
        values: the tensor; which numbers it holds (logarithms, probabilities) is its semiring's business.
        names: one for each dim, of a variable or of a plate. A dim that the values do not vary over may be left out.
        plates: the plates that the factor is in, its ordinal; along one that is not in ``names`` the values repeat.
    """

    values: Tensor
    names: tuple[str, ...]
    plates: frozenset[str] = field(default_factory=frozenset)

    @staticmethod
    def from_dims(values: Tensor, dims: Mapping[int, str], plates: Iterable[str] = ()) -> Table:
        """Name the dims of a tensor by their negative positions; dims of size 1 are dropped, they only broadcast.

        Raises:
            ValueError: for a dim of more than one element without a name.

        Example:
            >>> import torch
            >>> Table.from_dims(torch.zeros(3, 1, 5), {-1: "data", -3: "z"}, ["data"]).names
            ('z', 'data')
        """
        names = []
        for position, size in enumerate(values.shape):
            dim = position - values.dim()
            if size == 1:
                continue
            if dim not in dims:
                raise ValueError(
                    f"dim {dim} of a table of shape {tuple(values.shape)} has no name; named are {dict(dims)}"
                )
            names.append(dims[dim])
        if len(names) < values.dim():
            values = values.squeeze()
        return Table(values, tuple(names), frozenset(plates))

    def layout(self) -> Layout:
        """Return all but the numbers: names, plates, shape."""
        return self.names, self.plates, tuple(self.values.shape)


@final
@dataclass(frozen=True, slots=True)
class Domain:
    """What the names of tables range over.

    Attributes:
        variables: every discrete variable.
        plates: the name and size of every plate, and of every other dim that only repeats.
    """

    variables: tuple[Variable, ...]
    plates: tuple[tuple[str, int], ...] = ()

    @staticmethod
    def of(tables: Iterable[Table], variables: Mapping[str, int], plates: Mapping[str, int] | None = None) -> Domain:
        """Find the plates of each variable: those that all tables with it are in.

        Example:
            >>> import torch
            >>> prior = Table(torch.zeros(2), ("z",))
            >>> likelihood = Table(torch.zeros(2, 5), ("z", "data"), frozenset({"data"}))
            >>> Domain.of([prior, likelihood], {"z": 2}, {"data": 5}).variables
            (Variable(name='z', size=2, plates=frozenset()),)
        """
        around: dict[str, frozenset[str]] = {}
        for table in tables:
            for name in table.names:
                around[name] = around.get(name, table.plates) & table.plates
        found = (Variable(name, size, around.get(name, frozenset())) for name, size in variables.items())
        return Domain(tuple(found), tuple((plates or {}).items()))

    def only(self, variables: Iterable[str]) -> Domain:
        """Return the domain with these variables alone: one that is declared is summed, also where no table is over it.

        Example:
            >>> Domain((Variable("a", 2), Variable("b", 3))).only(["b"]).variables
            (Variable(name='b', size=3, plates=frozenset()),)
        """
        wanted = frozenset(variables)
        return Domain(tuple(each for each in self.variables if each.name in wanted), self.plates)

    def sizes(self) -> dict[str, int]:
        """Return the size of every variable and plate by its name.

        Raises:
            ValueError: where one name stands for two things.
        """
        sizes = dict(self.plates)
        for variable in self.variables:
            if variable.name in sizes:
                raise ValueError(f"the name {variable.name!r} stands for two variables, or for a variable and a plate")
            sizes[variable.name] = variable.size
        return sizes

    def check(self, layouts: Iterable[Layout]) -> None:
        """Check that tables, given by their layouts, lie within this domain and within their own plates.

        Raises:
            ValueError: for a name that is not declared, or a dim of another size than declared.
            UnsupportedModelError: where a table outside a plate depends on a variable inside it.
        """
        sizes = self.sizes()
        around = {variable.name: variable.plates for variable in self.variables}
        for variable in self.variables:
            _check_declared(f"variable {variable.name!r}", variable.plates, sizes)
        for names, plates, shape in layouts:
            shown = f"a table over {_listed(names)}"
            if len(names) != len(shape) or len(set(names)) != len(names):
                raise ValueError(f"{shown} has values of shape {shape}: one name for each dim")
            _check_declared(shown, (*names, *plates), sizes)
            for name, size in zip(names, shape, strict=True):
                if sizes[name] != size:
                    raise ValueError(f"{shown}: {name!r} has size {sizes[name]} in the domain and {size} in the table")
                outside = around.get(name, frozenset((name,))) - plates
                if outside:
                    raise UnsupportedModelError(
                        f"{shown} is in the plates {_listed(plates)} and depends on {name!r}, which is inside "
                        f"{_listed(outside)}: nothing outside a plate may depend on what is inside it; "
                        f"move the site that depends on {name!r} into the plate"
                    )


def align(tensor: Tensor, names: tuple[str, ...], target: tuple[str, ...]) -> Tensor:
    """Permute and view a tensor so that its named dims stand where they stand in ``target``; the others get size 1."""
    if names == target:
        return tensor
    order = [names.index(name) for name in target if name in names]
    shape = [tensor.shape[names.index(name)] if name in names else 1 for name in target]
    return tensor.permute(order).reshape(shape)


def _check_declared(what: str, names: Iterable[str], sizes: Mapping[str, int]) -> None:
    unknown = [name for name in names if name not in sizes]
    if unknown:
        raise ValueError(f"{what} has the name {unknown[0]!r}, which is neither a variable nor a plate of the domain")


def _listed(names: Iterable[str]) -> str:
    return ", ".join(map(repr, sorted(names))) or "no name"
