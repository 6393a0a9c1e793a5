"""Whether a program still finds what it found: a cheap look at the places of an earlier walk."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from operator import is_, itemgetter
from types import CellType, FunctionType
from typing import Any, final

import torch
from torch import Tensor

__all__ = ["Watch"]

_Check = Callable[[], bool]


@final
class Watch:
    """Remembers places and the objects that lay there; compares identities, so nothing is hashed again.

    Identity is enough: what cannot change (numbers, strings, code) is the same while it is the same object, and what
    can change has places of its own here.
    """

    __slots__ = ("_cells", "_checks", "_functions", "_spaces", "_tensors")

    def __init__(self) -> None:
        self._cells: list[tuple[CellType, Any]] = []
        self._functions: list[tuple[FunctionType, Any, Any, Any]] = []
        self._spaces: list[tuple[Callable[[Any], tuple[Any, ...]], Mapping[str, Any], tuple[Any, ...]]] = []
        self._tensors: list[tuple[Tensor, tuple[Any, ...]]] = []
        self._checks: list[_Check] = []

    def holds(self) -> bool:
        """Tell whether every place still holds what it held."""
        for get, space, values in self._spaces:
            try:
                if not all(map(is_, get(space), values)):
                    return False
            except KeyError:
                return False
        for cell, content in self._cells:
            if content_of(cell) is not content:
                return False
        for function, code, defaults, keywords in self._functions:
            if (
                function.__code__ is not code
                or function.__defaults__ is not defaults
                or function.__kwdefaults__ is not keywords
            ):
                return False
        for tensor, description in self._tensors:
            if describe(tensor) != description:
                return False
        return all(check() for check in self._checks)

    def add_function(self, function: FunctionType) -> None:
        """Watch what a function consists of."""
        self._functions.append((function, function.__code__, function.__defaults__, function.__kwdefaults__))

    def add_cell(self, cell: CellType) -> None:
        """Watch what a variable of a closure holds."""
        self._cells.append((cell, content_of(cell)))

    def add_tensor(self, tensor: Tensor) -> None:
        """Watch all of a tensor but its contents."""
        self._tensors.append((tensor, describe(tensor)))

    def add_names(self, space: Mapping[str, Any], present: Sequence[str], absent: Collection[str]) -> None:
        """Watch names of a namespace: those that are there, and those that are not."""
        if present:
            names = [*present, present[0]]  # one name alone would not give a tuple
            get: Any = itemgetter(*names)
            self._spaces.append((get, space, tuple(space[name] for name in names)))
        if absent:
            missing = frozenset(absent)
            self._checks.append(lambda: not space.keys() & missing)

    def add_keys(self, space: Mapping[Any, Any]) -> None:
        """Watch which keys a mapping has."""
        keys = tuple(space)
        self._checks.append(lambda: len(space) == len(keys) and all(map(is_, space, keys)))

    def add_values(self, space: Mapping[Any, Any]) -> None:
        """Watch what a mapping holds."""
        values = tuple(space.values())
        self._checks.append(lambda: len(space) == len(values) and all(map(is_, space.values(), values)))

    def add_items(self, items: Collection[Any]) -> None:
        """Watch a list, or anything else that is gone through in a fixed order."""
        values = tuple(items)
        self._checks.append(lambda: len(items) == len(values) and all(map(is_, items, values)))

    def add_reading(self, read: Callable[[], Any]) -> None:
        """Watch something that is read by a function, and compared as a value."""
        value = read()
        self._checks.append(lambda: _are_equal(read(), value))

    def add_object(self, read: Callable[[], Any]) -> None:
        """Watch something that is read by a function, and compared by identity."""
        value = read()
        self._checks.append(lambda: read() is value)


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
        tuple(tensor.shape),
        tensor.stride() if layout is torch.strided else None,
        tensor.dtype,
        tensor.device,
        tensor.requires_grad,
        layout,
        tensor.is_conj() or tensor.is_neg(),
    )


def _are_equal(one: object, other: object) -> bool:
    return one == other
