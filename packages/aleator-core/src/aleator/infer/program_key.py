"""What tells one model and guide from another, where something found out about them is kept for the next run."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import CodeType
from typing import Any

from torch import Tensor
from torch.utils._pytree import tree_leaves

from aleator.messenger import Handled
from aleator.plates import active_plates
from aleator.runtime import RUN

__all__ = ["program_key"]

Program = Callable[..., Any]


def program_key(model: Program, guide: Program, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Any:  # noqa: ANN401  # hashable
    """Return what the structure of two programs on these arguments may depend on, as a dictionary's key.

    These are their code, the objects they are bound to, the switches (truth values, words) that they read from
    closures and globals, the arguments' shapes, and the plates and reserved dims around the run. Numbers in closures
    and globals are left out: a step counter would be another program at each step.
    """
    leaves = tree_leaves((args, tuple(sorted(kwargs.items()))))
    shapes = tuple(
        (tuple(leaf.shape), leaf.dtype, leaf.device) if isinstance(leaf, Tensor) else _plain(leaf) for leaf in leaves
    )
    run = RUN.get()
    around = tuple(plate.frame for plate in active_plates())
    return _identity(model), _identity(guide), shapes, tuple(run.reserved) if run is not None else (), around


def _plain(value: Any) -> Any:  # noqa: ANN401  # an argument of any type
    return value if _is_switch(value) or isinstance(value, (int, float)) else (type(value).__qualname__, id(value))


def _identity(program: Any) -> Any:  # noqa: ANN401  # any callable
    """Name a program by its code and by the object it is bound to, through the handlers around it."""
    layers: list[Any] = []
    while isinstance(program, Handled) or hasattr(program, "messenger"):
        layers.append(id(program.messenger))
        program = program.fn
    owner = getattr(program, "__self__", None)
    code = getattr(program, "__code__", None)
    cells = getattr(program, "__closure__", None) or ()
    closure = tuple(id(cell) for cell in cells)
    if code is None:
        return tuple(layers), id(program), id(owner), closure, ()
    switches = tuple(value for value in _read(code, cells, getattr(program, "__globals__", {})) if _is_switch(value))
    return tuple(layers), code, id(owner), closure, switches


def _read(code: CodeType, cells: tuple[Any, ...], names: Mapping[str, Any]) -> Iterator[Any]:
    """Yield what the cells hold, and the globals that the code, or a function defined in it, names."""
    for cell in cells:
        try:
            yield cell.cell_contents
        except ValueError:  # a cell that is filled later
            yield None
    pending = [code]
    while pending:
        current = pending.pop()
        for name in current.co_names:
            yield names.get(name)
        pending.extend(constant for constant in current.co_consts if isinstance(constant, CodeType))


def _is_switch(value: object) -> bool:
    return value is None or isinstance(value, (bool, str))
