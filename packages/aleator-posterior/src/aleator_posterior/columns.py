"""Values of a site by draw: one tensor where all draws agree in shape, a list with places where they do not."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple, TypeAlias, final

import torch
from torch import Tensor

from aleator_posterior.site_description import SiteDescription

__all__ = ["Column", "Columns", "DenseColumn", "Entry", "RaggedColumn", "join_columns", "make_column"]


class Entry(NamedTuple):
    """A site's value in one draw.

    Attributes:
        place: the draw's number.
        value: the value.
        description: what is known of the site in that draw.
    """

    place: int
    value: Tensor
    description: SiteDescription


@final
class DenseColumn:
    """One tensor for all draws, its leading dim running over them.

    Data that all draws share are stored once: the leading dim then has stride 0.
    """

    __slots__ = ("description", "tensor")

    def __init__(self, tensor: Tensor, description: SiteDescription) -> None:
        self.tensor = tensor
        self.description = description

    @property
    def is_shared(self) -> bool:
        """Whether all draws have the same memory."""
        return self.tensor.shape[0] == 1 or self.tensor.stride(0) == 0

    def entry(self, place: int) -> Entry:
        """Return the value in one draw, a view."""
        return Entry(place, self.tensor[place], self.description)

    def entries(self) -> Iterator[Entry]:
        """Yield the values by draw, as views."""
        return (Entry(place, value, self.description) for place, value in enumerate(self.tensor.unbind(0)))

    def select(self, places: slice | Sequence[int], index: Tensor | None) -> DenseColumn:
        """Return the column of some draws: a view for a slice, a copy for places (also given as a tensor)."""
        if isinstance(places, slice):
            return DenseColumn(self.tensor[places], self.description)
        if self.is_shared and len(places):
            return DenseColumn(self.tensor[:1].expand(len(places), *self.tensor.shape[1:]), self.description)
        return DenseColumn(self.tensor[index], self.description)


@final
class RaggedColumn:
    """A value for each of some draws, of shapes that may differ.

    Attributes:
        values: the values, of the draws that have the site, in their order.
    """

    __slots__ = ("_by_place", "values")

    def __init__(self, entries: Iterable[Entry]) -> None:
        self.values = tuple(entries)
        self._by_place = {entry.place: entry for entry in self.values}

    @property
    def description(self) -> SiteDescription:
        """What is known of the site in the first draw that has it."""
        return self.values[0].description

    def entry(self, place: int) -> Entry | None:
        """Return the value in one draw, or ``None`` where that draw lacks the site."""
        return self._by_place.get(place)

    def entries(self) -> Iterator[Entry]:
        """Yield the values by draw."""
        return iter(self.values)

    def select(self, places: Sequence[int]) -> list[Entry]:
        """Return the values in some draws, numbered anew."""
        found = ((place, self._by_place.get(old)) for place, old in enumerate(places))
        return [entry._replace(place=place) for place, entry in found if entry is not None]

    def why(self, name: str, count: int) -> str:
        """Say why the site has no dense column among ``count`` draws."""
        if len(self.values) < count:
            return f"site {name!r} is in {len(self.values)} of {count} draws only"
        for what, kinds in (
            ("shape", {tuple(entry.value.shape): None for entry in self.values}),
            ("dtype", {entry.value.dtype: None for entry in self.values}),
            ("device", {str(entry.value.device): None for entry in self.values}),
        ):
            if len(kinds) > 1:
                shown = ", ".join(map(str, list(kinds)[:3])) + (", ..." if len(kinds) > 3 else "")
                return f"site {name!r} changes its {what} between draws ({shown})"
        return f"site {name!r} changes its plates, its event dims or its role between draws"


Column: TypeAlias = DenseColumn | RaggedColumn


def make_column(entries: Sequence[Entry], count: int) -> Column:
    """Make the column of ``count`` draws from at least one value: dense where the values allow it."""
    _, first, description = entries[0]
    alike = len(entries) == count and all(
        value is first or (_kind(value) == _kind(first) and about == description) for _, value, about in entries
    )
    if not alike:
        return RaggedColumn(entries)
    if all(entry.value is first for entry in entries):
        return DenseColumn(first.expand(count, *first.shape), description)
    return DenseColumn(torch.stack([entry.value for entry in entries]), description)


def join_columns(columns: Sequence[tuple[Column | None, int]]) -> Column:
    """Put the columns of one site one after the other; each comes with its number of draws, some may lack the site."""
    dense = [column for column, _ in columns if isinstance(column, DenseColumn)]
    if len(dense) == len(columns) and all(_agree(column, dense[0]) for column in dense):
        count = sum(length for _, length in columns)
        first = dense[0].tensor
        if all(column.is_shared and _memory(column.tensor) == _memory(first) for column in dense):
            return DenseColumn(first[:1].expand(count, *first.shape[1:]), dense[0].description)
        return DenseColumn(torch.cat([column.tensor for column in dense]), dense[0].description)
    entries, start = [], 0
    for column, length in columns:
        if column is not None:
            entries += [entry._replace(place=start + entry.place) for entry in column.entries()]
        start += length
    return RaggedColumn(entries)


def _kind(value: Tensor) -> tuple[torch.Size, torch.dtype, torch.device]:
    return value.shape, value.dtype, value.device


def _memory(tensor: Tensor) -> tuple[int, tuple[int, ...]]:
    return tensor.data_ptr(), tensor.stride()[1:]


def _agree(column: DenseColumn, other: DenseColumn) -> bool:
    (_, *shape), (_, *other_shape) = column.tensor.shape, other.tensor.shape
    return (
        shape == other_shape
        and column.tensor.dtype == other.tensor.dtype
        and column.tensor.device == other.tensor.device
        and column.description == other.description
    )


@final
class Columns(Mapping[str, Tensor]):
    """Tensors by site, the leading dim running over the draws: a read-only mapping.

    The tensors are the stored ones, not copies: clone what is to be written into. A site that not every draw has, or
    that changes its shape between draws, is ragged: it is a key, reading it raises, and ``ragged`` gives its values.

    Raises:
        KeyError: for a site that no draw has.
        ValueError: for a ragged site, naming it and what differs.

    Example:
        >>> import torch
        >>> from aleator_posterior import Draws
        >>> values = Draws({"z": torch.zeros(5, 2)}).values
        >>> list(values), values["z"].shape, values.is_ragged("z")
        (['z'], torch.Size([5, 2]), False)
    """

    __slots__ = ("_columns", "_count")

    def __init__(self, columns: Mapping[str, Column], count: int) -> None:
        self._columns = dict(columns)
        self._count = count

    def column(self, name: str) -> Column:
        """Return what is stored of a site: a ``DenseColumn`` or a ``RaggedColumn``."""
        try:
            return self._columns[name]
        except KeyError:
            known = ", ".join(self._columns) or "none"
            raise KeyError(f"no draw has a site {name!r} here; the sites are: {known}") from None

    def __getitem__(self, name: str) -> Tensor:
        column = self.column(name)
        if isinstance(column, RaggedColumn):
            raise ValueError(
                f"{column.why(name, self._count)}, so it has no column with one row per draw; "
                f"read ragged({name!r}) instead, or the traces"
            )
        return column.tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self) -> int:
        return len(self._columns)

    def __contains__(self, name: object) -> bool:
        return name in self._columns

    def is_ragged(self, name: str) -> bool:
        """Whether a site has no single tensor, because draws lack it or differ in its shape."""
        return isinstance(self.column(name), RaggedColumn)

    def ragged(self, name: str) -> list[tuple[int, Tensor]]:
        """Return the number and the value of each draw that has a site, ragged or not."""
        return [(place, value) for place, value, _ in self.column(name).entries()]

    def describe(self, name: str) -> SiteDescription:
        """Return what is known of a site; of a ragged one, in the first draw that has it."""
        return self.column(name).description

    def select(self, places: slice | Sequence[int], index: Tensor | None = None) -> Columns:
        """Return the columns of some draws: views for a slice, copies for places (also given as a tensor ``index``)."""
        numbers = range(self._count)[places] if isinstance(places, slice) else places
        selected: dict[str, Column] = {}
        for name, column in self._columns.items():
            if isinstance(column, DenseColumn):
                selected[name] = column.select(places, index)
            elif entries := column.select(numbers):
                selected[name] = make_column(entries, len(numbers))
        return Columns(selected, len(numbers))

    @classmethod
    def concatenate(cls, parts: Sequence[Columns]) -> Columns:
        """Put tables one after the other; a site that a part lacks is ragged."""
        parts = [part for part in parts if part._count]
        names = dict.fromkeys(name for part in parts for name in part)
        joined = {name: join_columns([(part._columns.get(name), part._count) for part in parts]) for name in names}
        return cls(joined, sum(part._count for part in parts))

    def shown(self) -> str:
        """Return the sites and the shapes of one value as text."""
        return ", ".join(
            f"{name}: {'ragged' if isinstance(column, RaggedColumn) else tuple(column.tensor.shape[1:])}"
            for name, column in self._columns.items()
        )

    def __repr__(self) -> str:
        return f"Columns(draws={self._count}, {self.shown()})"
