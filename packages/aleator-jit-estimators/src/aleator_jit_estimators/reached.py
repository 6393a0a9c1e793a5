"""What a program finds outside its arguments: tensors, which are passed at each call, and all else, which is a key."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Mapping
from functools import partial
from types import CellType, CodeType, FunctionType, MethodType, ModuleType
from typing import Any, final

import torch
from torch import Tensor

__all__ = ["Reached", "reach"]

_ATOMS = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.Size, slice)
_KNOWN = ("torch", "aleator", "builtins", "math", "functools", "itertools", "collections", "typing", "operator", "enum")
_DEPTH = 12


@final
class Reached:
    """What was found, in an order that the key fixes.

    Attributes:
        tensors: every tensor once, in the order in which it was met.
        key: hashable; equal where two programs differ in the contents of their tensors at most.
        portable: whether the key means the same in another process: no object in it is known by its identity only.
        kept: objects that the key names by their identity, kept alive so that it stays theirs.
    """

    __slots__ = ("_at", "_parts", "_seen", "kept", "portable", "tensors")

    def __init__(self) -> None:
        self.tensors: list[Tensor] = []
        self.portable = True
        self.kept: list[Any] = []
        self._at: dict[int, int] = {}
        self._parts: list[Any] = []
        self._seen: dict[int, int] = {}

    @property
    def key(self) -> tuple[Any, ...]:
        """All that is not the contents of a tensor."""
        return tuple(self._parts)

    def add(self, value: Any, depth: int = _DEPTH) -> None:  # noqa: ANN401  # anything a program may find
        """Note a value and what it leads to."""
        if isinstance(value, Tensor):
            self._add_tensor(value)
        elif isinstance(value, _ATOMS):
            self._parts.append((type(value).__name__, repr(value)))
        elif id(value) in self._seen:
            self._parts.append(("again", self._seen[id(value)]))
        elif depth == 0:
            self._by_identity(value)
        else:
            self._seen[id(value)] = len(self._seen)
            self.kept.append(value)
            self._add_object(value, depth - 1)

    def _add_tensor(self, value: Tensor) -> None:
        at = self._at.setdefault(id(value), len(self.tensors))
        if at == len(self.tensors):
            self.tensors.append(value)
        self._parts.append(("tensor", at, tuple(value.shape), value.dtype, str(value.device), value.requires_grad))

    def _add_object(self, value: Any, depth: int) -> None:  # noqa: ANN401  # anything a program may find
        if isinstance(value, (list, tuple)):
            self._parts.append((type(value).__name__, len(value)))
            for item in value:
                self.add(item, depth)
        elif isinstance(value, Mapping):
            self._parts.append((type(value).__name__, len(value)))
            for name, item in value.items():
                self.add(name, depth)
                self.add(item, depth)
        elif isinstance(value, ModuleType):
            self._add_file(value.__name__)
        elif isinstance(value, partial):
            for item in ("partial", value.func, value.args, value.keywords):
                self.add(item, depth)
        elif isinstance(value, MethodType):
            self.add(value.__self__, depth)
            self.add(value.__func__, depth)
        elif _is_known(value):
            self._parts.append((value.__module__, value.__qualname__))
        elif isinstance(value, FunctionType):
            self._add_function(value, depth)
        elif isinstance(value, type):
            self._add_file(value.__module__)
            self._parts.append(value.__qualname__)
        else:
            self._add_instance(value, depth)

    def _add_function(self, function: FunctionType, depth: int) -> None:
        self._add_code(function.__code__)
        self.add(function.__defaults__, depth)
        self.add(function.__kwdefaults__, depth)
        for cell in function.__closure__ or ():
            self.add(_content(cell), depth)
        for name in sorted(_names(function.__code__)):
            if name in function.__globals__:
                self._parts.append(name)
                self.add(function.__globals__[name], depth)

    def _add_code(self, code: CodeType) -> None:
        plain = tuple(repr(each) for each in code.co_consts if not isinstance(each, CodeType))
        self._parts.append((code.co_code, plain, code.co_names, code.co_varnames, code.co_freevars))
        for each in code.co_consts:
            if isinstance(each, CodeType):
                self._add_code(each)

    def _add_instance(self, value: Any, depth: int) -> None:  # noqa: ANN401  # any object
        self.add(type(value), depth)
        content = getattr(value, "__dict__", None)
        if content is None:
            self._by_identity(value)
        else:
            self.add(dict(content), depth)

    def _add_file(self, name: str) -> None:
        """Name a module; one that is not of torch or Aleator also by what its file says."""
        self._parts.append(name)
        if _is_official(name):
            return
        path = getattr(sys.modules.get(name), "__file__", None)
        if path is None:
            self.portable = False
            return
        with open(path, "rb") as file:
            self._parts.append(hashlib.sha256(file.read()).hexdigest())

    def _by_identity(self, value: Any) -> None:  # noqa: ANN401  # any object
        self.portable = False
        self.kept.append(value)
        self._parts.append(("object", type(value).__qualname__, id(value)))


def reach(*things: Any) -> Reached:  # noqa: ANN401  # programs, estimators, optimizers
    """Return what these lead to through closures, globals, defaults and attributes."""
    found = Reached()
    for thing in things:
        found.add(thing)
    return found


def _is_known(value: Any) -> bool:  # noqa: ANN401  # anything
    """Whether a function or class is told by its name: it belongs to torch, Aleator or the standard library."""
    if not isinstance(value, (type, FunctionType)) and not hasattr(value, "__qualname__"):
        return False
    home = getattr(value, "__module__", None)
    return home is None or _is_official(home)


def _content(cell: CellType) -> Any:  # noqa: ANN401  # whatever it holds
    try:
        return cell.cell_contents
    except ValueError:  # a cell that is filled later
        return None


def _names(code: CodeType) -> set[str]:
    inner = (each for each in code.co_consts if isinstance(each, CodeType))
    return set(code.co_names).union(*(_names(each) for each in inner))


def _is_official(module: str) -> bool:
    """Whether a module's content is told by the versions that the cache's names carry."""
    top = module.partition(".")[0]
    return top in _KNOWN or top in sys.stdlib_module_names or top.startswith("aleator_")
