"""Whether a program still finds what it found: a cheap look at the places of an earlier walk."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from itertools import chain
from operator import attrgetter, is_, itemgetter
from types import CellType, FunctionType
from typing import Any, final

import torch
from torch import Tensor

__all__ = ["Watch"]

_Check = Callable[[], bool]
_chained = chain.from_iterable
_parts = attrgetter("__code__", "__defaults__", "__kwdefaults__")
_content = attrgetter("cell_contents")
_form = attrgetter("shape", "dtype", "device", "requires_grad", "layout")


@final
class Watch:
    """Remembers places and the objects that lay there; compares identities, so nothing is hashed again.

    Identity is enough: what cannot change (numbers, strings, code) is the same while it is the same object, and what
    can change has places of its own here. The places of each kind are gone through by one call without Python code of
    its own, since a compiled step takes less time than a look at fifty places one by one.
    """

    __slots__ = ("_cells", "_checks", "_empty", "_expected", "_functions", "_items", "_lengths", "_mappings", "_named",
                 "_names", "_sized", "_spaces", "_tensors")  # fmt: skip  # two lines, not thirteen

    def __init__(self) -> None:
        self._cells: list[CellType] = []
        self._functions: list[FunctionType] = []
        self._spaces: list[tuple[Callable[[Any], tuple[Any, ...]], Mapping[str, Any]]] = []
        self._mappings: list[Mapping[Any, Any]] = []
        self._items: list[Collection[Any]] = []
        # What lay in the places of these five, in the order in which they are gone through.
        self._expected: tuple[list[Any], ...] = ([], [], [], [], [])
        self._empty: list[Collection[Any]] = []
        self._sized: list[Collection[Any]] = []
        self._lengths: list[int] = []
        self._named: list[Mapping[Any, Any]] = []
        self._names: list[tuple[Any, ...]] = []
        self._tensors: list[tuple[Tensor, tuple[Any, ...], tuple[int, ...]]] = []
        self._checks: list[_Check] = []

    def holds(self) -> bool:
        """Tell whether every place still holds what it held."""
        if any(self._empty) or [*map(len, self._sized)] != self._lengths:
            return False
        if [*map(tuple, self._named)] != self._names:
            return False
        try:
            seen = [*map(_content, self._cells), *_chained(map(_parts, self._functions))]
            for get, space in self._spaces:
                seen += get(space)
        except (KeyError, ValueError):  # a name that is gone, a cell that is empty
            return False
        for mapping in self._mappings:
            seen += mapping.values()
        for items in self._items:
            seen += items
        if not all(map(is_, seen, _chained(self._expected))):
            return False
        for tensor, form, strides in self._tensors:
            if _form(tensor) != form or tensor.stride() != strides:
                return False
        return all(check() for check in self._checks)

    def add_function(self, function: FunctionType) -> None:
        """Watch what a function consists of."""
        self._functions.append(function)
        self._expected[1].extend(_parts(function))

    def add_cell(self, cell: CellType) -> None:
        """Watch what a variable of a closure holds."""
        try:
            self._expected[0].append(_content(cell))
            self._cells.append(cell)
        except ValueError:  # filled later
            self._checks.append(lambda: content_of(cell) is None)

    def add_tensor(self, tensor: Tensor) -> None:
        """Watch all of a tensor but its contents."""
        if tensor.layout is torch.strided and not tensor.is_conj() and not tensor.is_neg():
            self._tensors.append((tensor, _form(tensor), tensor.stride()))
        else:
            self.add_reading(lambda: describe(tensor))

    def add_names(self, space: Mapping[str, Any], present: Sequence[str], absent: Collection[str]) -> None:
        """Watch names of a namespace: those that are there, and those that are not."""
        if present:
            names = [*present, present[0]]  # one name alone would not give a tuple
            get: Any = itemgetter(*names)
            self._spaces.append((get, space))
            self._expected[2].extend(get(space))
        if absent:
            missing = frozenset(absent)
            self._checks.append(lambda: not space.keys() & missing)

    def add_keys(self, space: Mapping[Any, Any]) -> None:
        """Watch which keys a mapping has."""
        if not space:
            self._empty.append(space)
        elif all(type(key) is str for key in space):
            self._named.append(space)
            self._names.append(tuple(space))
        else:
            keys = tuple(space)
            self._checks.append(lambda: len(space) == len(keys) and all(map(is_, space, keys)))

    def add_values(self, space: Mapping[Any, Any]) -> None:
        """Watch what a mapping holds, where its keys are watched too."""
        if space:
            self._mappings.append(space)
            self._expected[3].extend(space.values())
            self._measure(space)

    def add_items(self, items: Collection[Any]) -> None:
        """Watch a list, or anything else that is gone through in a fixed order."""
        if isinstance(items, tuple):
            return  # the same object, the same items
        if items:
            self._items.append(items)
            self._expected[4].extend(items)
            self._measure(items)
        else:
            self._empty.append(items)

    def add_reading(self, read: Callable[[], Any]) -> None:
        """Watch something that is read by a function, and compared as a value."""
        value = read()
        self._checks.append(lambda: _are_equal(read(), value))

    def add_object(self, read: Callable[[], Any]) -> None:
        """Watch something that is read by a function, and compared by identity."""
        value = read()
        self._checks.append(lambda: read() is value)

    def _measure(self, space: Collection[Any]) -> None:
        self._sized.append(space)
        self._lengths.append(len(space))


def content_of(cell: CellType) -> Any:  # noqa: ANN401  # whatever it holds
    """Return what a cell holds, ``None`` where it is filled later."""
    try:
        return cell.cell_contents
    except ValueError:
        return None


def describe(tensor: Tensor) -> tuple[Any, ...]:
    """Return what compiled code depends on beside a tensor's contents."""
    layout = tensor.layout
    return (
        tensor.shape,
        tensor.stride() if layout is torch.strided else None,
        tensor.dtype,
        tensor.device,
        tensor.requires_grad,
        layout,
        tensor.is_conj() or tensor.is_neg(),
    )


def _are_equal(one: object, other: object) -> bool:
    return one == other
