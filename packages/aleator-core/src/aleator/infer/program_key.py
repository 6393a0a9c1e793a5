"""What tells one model and guide from another, where something found out about them is kept for the next run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, MutableMapping
from functools import partial
from itertools import count
from threading import Lock
from types import CodeType, FunctionType
from typing import Any, final

from torch import Tensor
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakIdKeyDictionary

from aleator.messenger import Handled
from aleator.plates import active_plates
from aleator.runtime import RUN

__all__ = ["program_key"]

Program = Callable[..., Any]


def program_key(model: Program, guide: Program, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:  # noqa: ANN401  # hashable
    """Return what the structure of two programs on these arguments may depend on, as a dictionary's key.

    These are their code with what it found in closures, globals and defaults when the function was first seen, the
    objects they are bound to, the switches (truth values, words) that are read from there now, the arguments' shapes,
    and the plates and reserved dims around the run. A number in a closure or a global tells two functions apart, but
    one function that finds another number later is still the same: a step counter would make a program of each step.
    """
    leaves = tree_leaves((args, tuple(sorted(kwargs.items()))))
    shapes = tuple(_plain(leaf) for leaf in leaves)
    run = RUN.get()
    around = tuple(plate.frame for plate in active_plates())
    return _identity(model), _identity(guide), shapes, tuple(run.reserved) if run is not None else (), around


def _plain(value: Any) -> Any:  # noqa: ANN401  # an argument of any type
    if isinstance(value, Tensor):
        return tuple(value.shape), value.dtype, value.device
    return value if _is_switch(value) or isinstance(value, (int, float)) else _NAMES.of(value)


def _identity(program: Any) -> Any:  # noqa: ANN401  # any callable
    """Name a program by its code and by the object it is bound to, through the handlers around it."""
    layers: list[Any] = []
    while True:
        if isinstance(program, partial):
            layers.append(tuple(_plain(leaf) for leaf in tree_leaves((program.args, program.keywords))))
            program = program.func
        elif isinstance(program, Handled) or hasattr(program, "messenger"):
            layers.append(_NAMES.of(program.messenger))
            program = program.fn
        else:
            break
    owner = getattr(program, "__self__", None)
    function = getattr(program, "__func__", program)
    if not isinstance(function, FunctionType):
        return tuple(layers), _NAMES.of(function), None, _switches(function)
    found = _NAMES.get(function)
    if found is None:
        found = _NAMES.give(function, _content_of(function))
    switches = tuple(value for value in _read(function) if _is_switch(value))
    if owner is None:
        return tuple(layers), found, None, switches
    return tuple(layers), found, _NAMES.of(owner), (*switches, *_switches(owner))


def _switches(owner: Any) -> tuple[Any, ...]:  # noqa: ANN401  # any object
    """Return the switches among the attributes of an object."""
    return tuple(value for value in getattr(owner, "__dict__", {}).values() if _is_switch(value))


def _content_of(function: FunctionType, depth: int = 2) -> Any:  # noqa: ANN401  # hashable
    """Return the code with all that it finds in closures and globals, numbers included."""
    found = (_content(leaf, depth) for value in _read(function) for leaf in tree_leaves(value))
    return function.__code__, tuple(found)


def _content(value: Any, depth: int) -> Any:  # noqa: ANN401  # anything a program may read
    if isinstance(value, FunctionType) and depth:
        return _content_of(value, depth - 1)
    return _plain(value)


def _read(function: FunctionType) -> Iterator[Any]:
    """Yield defaults of arguments, what the cells hold, and globals that the code, or a function in it, names."""
    yield from function.__defaults__ or ()
    yield from (function.__kwdefaults__ or {}).values()
    for cell in function.__closure__ or ():
        try:
            yield cell.cell_contents
        except ValueError:  # a cell that is filled later
            yield None
    names = function.__globals__
    pending = [function.__code__]
    while pending:
        current = pending.pop()
        for name in current.co_names:
            yield names.get(name)
        pending.extend(constant for constant in current.co_consts if isinstance(constant, CodeType))


def _is_switch(value: object) -> bool:
    return value is None or isinstance(value, (bool, str))


@final
class _Names:
    """Names for objects that are never given again, unlike their addresses; they keep no object alive."""

    def __init__(self) -> None:
        self._known: MutableMapping[Any, Any] = WeakIdKeyDictionary()
        self._numbers = count()
        self._lock = Lock()

    def get(self, thing: Any) -> Any:  # noqa: ANN401  # any object
        """Return the name of an object, or ``None``."""
        with self._lock:
            return self._known.get(thing)

    def give(self, thing: Any, name: Any) -> Any:  # noqa: ANN401  # any object, any name
        """Name an object that has no name yet, and return its name."""
        with self._lock:
            return self._known.setdefault(thing, name)

    def of(self, thing: Any) -> Any:  # noqa: ANN401  # any object
        """Return the name of an object, made up where it has none."""
        try:
            return self.get(thing) or self.give(thing, (type(thing).__qualname__, next(self._numbers)))
        except TypeError:  # no weak reference to it: its address must do
            return type(thing).__qualname__, id(thing)


_NAMES = _Names()
