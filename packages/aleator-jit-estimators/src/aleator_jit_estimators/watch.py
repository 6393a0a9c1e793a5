"""Whether a program still finds what it found: a cheap look at the places of an earlier walk."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from operator import is_
from types import CellType, FunctionType
from typing import Any, final

import torch
from torch import Tensor

from aleator_jit_estimators.conditions import Conditions

__all__ = ["Watch", "content_of", "describe", "say_form"]

_FEW = 6


@final
class Watch:
    """Remembers places and the objects that lay there; compares identities, so nothing is hashed again.

    Identity is enough: what cannot change (numbers, strings, code) is the same while it is the same object, and what
    can change has places of its own here. A place becomes one comparison in a function that is written for this
    program, since a compiled step takes less time than a look at fifty places one by one.

    Attributes:
        conditions: what has to hold.
    """

    __slots__ = ("_look", "conditions")

    def __init__(self) -> None:
        self.conditions = Conditions()
        self._look: Callable[[], bool] | None = None

    def holds(self) -> bool:
        """Tell whether every place still holds what it held."""
        if self._look is None:
            self._look = self.conditions.function()
        return self._look()

    def add_function(self, function: FunctionType) -> None:
        """Watch what a function consists of."""
        name = self._name(function)
        for part in ("__code__", "__defaults__", "__kwdefaults__"):
            self._expect(f"{name}.{part}", getattr(function, part))

    def add_cell(self, cell: CellType) -> None:
        """Watch what a variable of a closure holds."""
        try:
            self._expect(f"{self._name(cell)}.cell_contents", cell.cell_contents)
        except ValueError:  # filled later
            self._say(f"{self._name(content_of)}({self._name(cell)}) is None")

    def add_tensor(self, tensor: Tensor) -> None:
        """Watch all of a tensor but its contents."""
        if tensor.layout is torch.strided and not tensor.is_conj() and not tensor.is_neg():
            self._say(say_form(self.conditions, self._name(tensor), tensor))
        else:
            self.add_reading(lambda: describe(tensor))

    def add_names(self, space: Mapping[str, Any], present: Sequence[str], absent: Collection[str]) -> None:
        """Watch names of a namespace: those that are there, and those that are not."""
        where = self._name(space)
        for name in present:
            self._expect(f"{where}[{name!r}]", space[name])
        for name in sorted(absent):
            self._say(f"{name!r} not in {where}")

    def add_keys(self, space: Mapping[Any, Any]) -> None:
        """Watch which keys a mapping has, in their order."""
        keys = [*space]
        if not keys:
            self._say(f"not {self._name(space)}")
        elif all(type(key) is str for key in keys):
            self._say(f"[*{self._name(space)}] == {self._name(keys)}")
        else:
            self._expect_all(self._name(space), len(keys), keys)

    def add_key_set(self, space: Mapping[str, Any], known: Collection[str]) -> None:
        """Watch which names a namespace has, in any order; those that are known are watched already."""
        unknown = sorted(space.keys() - set(known))
        if len(unknown) > _FEW:
            return self.add_keys(space)
        where = self._name(space)
        self._say(f"len({where}) == {len(space)}")
        for name in unknown:
            self._say(f"{name!r} in {where}")
        return None

    def add_values(self, space: Mapping[Any, Any]) -> None:
        """Watch what a mapping holds, where its keys are watched too."""
        where = self._name(space)
        if len(space) <= _FEW and all(type(key) is str for key in space):
            for key, value in space.items():
                self._expect(f"{where}[{key!r}]", value)
        else:
            self._expect_all(f"{where}.values()", len(space), [*space.values()])

    def add_items(self, items: Collection[Any]) -> None:
        """Watch a list, or anything else that is gone through in a fixed order."""
        if isinstance(items, tuple):
            return  # the same object, the same items
        where = self._name(items)
        if items:
            self._expect_all(where, len(items), [*items])
        else:
            self._say(f"not {where}")

    def add_reading(self, read: Callable[[], Any]) -> None:
        """Watch something that is read by a function, and compared as a value."""
        self._say(f"{self._name(read)}() == {self._name(read())}")

    def add_object(self, read: Callable[[], Any]) -> None:
        """Watch something that is read by a function, and compared by identity."""
        self._expect(f"{self._name(read)}()", read())

    def _name(self, value: Any) -> str:  # noqa: ANN401  # any object
        return self.conditions.name(value)

    def _say(self, condition: str) -> None:
        self.conditions.say(condition)

    def _expect(self, place: str, value: Any) -> None:  # noqa: ANN401  # any object
        self._say(f"{place} is {self._name(value)}")

    def _expect_all(self, places: str, number: int, values: list[Any]) -> None:
        self._say(f"len({places}) == {number} and all(map({self._name(is_)}, {places}, {self._name(values)}))")


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


def say_form(conditions: Conditions, name: str, tensor: Tensor) -> str:
    """Return the condition that what has a name is described as a strided tensor is that is neither conj nor neg."""
    known = conditions.name
    if tensor.dim():  # other layouts have no strides, and raise
        form = f"{name}.shape == {known(tensor.shape)} and {name}.stride() == {known(tensor.stride())}"
    else:
        form = f"not {name}.dim() and {name}.layout is {known(tensor.layout)}"
    device = f"{name}.is_cpu" if tensor.is_cpu else f"{name}.device == {known(tensor.device)}"
    conjugate = f" and not {name}.is_conj()" if tensor.is_complex() else ""
    return (
        f"{name}.dtype is {known(tensor.dtype)} and {device} and {form} and "
        f"{name}.requires_grad is {tensor.requires_grad} and not {name}.is_neg(){conjugate}"
    )
