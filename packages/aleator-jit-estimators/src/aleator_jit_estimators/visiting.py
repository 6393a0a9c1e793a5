"""What an object that a program finds is made of, by its kind."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Mapping
from contextvars import ContextVar
from functools import partial
from types import CellType, FunctionType, MethodType, ModuleType, SimpleNamespace
from typing import TYPE_CHECKING, Any
from weakref import ReferenceType

import torch

from aleator_jit_estimators import kinds
from aleator_jit_estimators.namespaces import Namespace
from aleator_jit_estimators.visiting_code import ClassOf, visit_builtin, visit_class, visit_function, visit_module
from aleator_jit_estimators.watch import content_of

if TYPE_CHECKING:
    from aleator_jit_estimators.reached import Reached

__all__ = ["visit"]

_SEQUENCES = (list, tuple, deque)
_WRAPPERS = (MethodType, partial, property, staticmethod, classmethod, ReferenceType, CellType, ContextVar)


def visit(found: Reached, path: str, value: Any) -> None:  # noqa: ANN401  # anything a program may find
    """Note an object that is met for the first time, and have its parts walked."""
    text = kinds.own_text(value)
    if isinstance(value, ClassOf):
        visit_class(found, path, value.cls, is_met=False)
    elif text is not None:
        found.note(path, (type(value).__qualname__, text))
    elif isinstance(value, ModuleType):
        visit_module(found, path, value)
    elif isinstance(value, type):
        visit_class(found, path, value)
    elif isinstance(value, FunctionType):
        visit_function(found, path, value)
    elif isinstance(value, kinds.BOUND_BUILTINS):
        visit_builtin(found, path, value)
    elif isinstance(value, kinds.DESCRIPTORS):
        found.note(path, ("descriptor", value.__objclass__.__qualname__, value.__name__))
    elif isinstance(value, _WRAPPERS):
        _visit_wrapper(found, path, value)
    elif hasattr(type(value), "__next__"):
        found.refuse(path, f"the program may take items from {_kind(value)}, which gives others at each step")
    else:
        _visit_instance(found, path, value)


def _visit_wrapper(found: Reached, path: str, value: Any) -> None:  # noqa: ANN401  # one of a few types
    found.note(path, ("wrapper", type(value).__name__))
    if isinstance(value, MethodType):
        parts: tuple[Any, ...] = (value.__self__, value.__func__)
    elif isinstance(value, partial):
        parts = value.func, value.args, value.keywords, vars(value)
    elif isinstance(value, property):
        parts = value.fget, value.fset
    elif isinstance(value, ReferenceType):
        parts = (value(),)
        found.watch.add_object(value)
    elif isinstance(value, ContextVar):
        parts = (value.get(None),)
        found.watch.add_object(partial(value.get, None))
    elif isinstance(value, CellType):
        parts = (content_of(value),)
        found.watch.add_cell(value)
    else:
        parts = (value.__func__,)
    found.enqueue(path, parts)


def _visit_instance(found: Reached, path: str, value: Any) -> None:  # noqa: ANN401  # any object
    """Note what an object holds: as a container, as an array, in its attributes and slots."""
    cls = type(value)
    told = _items(found, path, value)
    if kinds.is_opaque_and_harmless(value):
        found.note(path, ("harmless", cls.__qualname__))
        return
    if kinds.impure(f"{cls.__module__}.{cls.__qualname__}"):
        found.refuse(path, f"the program may ask {_kind(value)}, which answers differently from call to call")
    found.enqueue_class(path, cls)
    content = getattr(value, "__dict__", None)
    if content is not None:
        found.spaces.append(_attributes(path, value, content))
    slots = [name for name in kinds.data_slots(cls) if hasattr(value, name)]
    for name in slots:
        found.watch.add_object(partial(getattr, value, name, None))
        found.note(path, ("slot", name))
        found.enqueue(f"{path}.{name}", [getattr(value, name)])
    told = told or cls is SimpleNamespace
    if not told and (kinds.is_native(cls) or not (content is not None or slots or _is_empty(cls))):
        found.refuse(path, f"the program may read {_kind(value)}, whose content cannot be told")


def _attributes(path: str, value: Any, content: dict[str, Any]) -> Namespace:  # noqa: ANN401  # any object
    cls = type(value)
    if kinds.is_official(cls.__module__):
        return Namespace(path, content, {"*"}, kinds.recomputable(value))
    if isinstance(value, torch.nn.Module):
        return Namespace(path, content, kinds.MODULE_DATA)
    official = [base for base in cls.__mro__[:-1] if kinds.is_official(base.__module__)]
    is_open = any(base.__module__ not in ("abc", "typing") for base in official)
    return Namespace(path, content, {"*"} if is_open else frozenset())


def _items(found: Reached, path: str, value: Any) -> bool:  # noqa: ANN401  # any object
    """Note the items of a container or an array; tell whether they say all that there is to say."""
    cls = type(value)
    if isinstance(value, kinds.ATOMS):  # of a class derived from one
        found.note(path, (cls.__name__, repr(value)))
    elif isinstance(value, _SEQUENCES):
        found.note(path, ("sequence", cls.__name__, len(value)))
        found.watch.add_items(value)
        for at, item in enumerate(value):
            found.enqueue(f"{path}[{at}]", [item])
    elif isinstance(value, Mapping) and (isinstance(value, dict) or kinds.is_official(cls.__module__)):
        found.note(path, ("mapping", cls.__name__, len(value)))
        found.watch.add_keys(value)
        found.watch.add_values(value)
        for name, item in value.items():
            found.enqueue(path, [name])
            found.enqueue(f"{path}[{name!r}]"[:200], [item])
    elif isinstance(value, (set, frozenset)) and all(type(item) in kinds.ATOMS for item in value):
        found.note(path, ("set", cls.__name__, _texts(value)))
        if value and isinstance(value, set):
            found.watch.add_reading(partial(_texts, value))
        elif isinstance(value, set):
            found.watch.add_items(value)
    elif isinstance(value, bytearray) or hasattr(cls, "__array_interface__"):
        return _array(found, path, value)
    else:
        return False
    return True


def _array(found: Reached, path: str, value: Any) -> bool:  # noqa: ANN401  # an array of numpy, or bytes that can change
    if str(getattr(value, "dtype", "")) == "object":
        return False

    def content() -> str:
        return hashlib.sha256(value if isinstance(value, bytearray) else value.tobytes()).hexdigest()

    shape = getattr(value, "shape", None)
    found.note(path, ("array", str(getattr(value, "dtype", "bytes")), shape, content()))
    found.watch.add_reading(content)
    return True


def _texts(values: set[Any] | frozenset[Any]) -> tuple[str, ...]:
    return tuple(sorted(map(repr, values)))


def _kind(value: object) -> str:
    return f"an object of type {type(value).__module__}.{type(value).__qualname__}"


def _is_empty(cls: type) -> bool:
    """Whether instances hold nothing: every class in Python that they are of says so by empty slots."""
    return all("__slots__" in vars(base) for base in cls.__mro__[:-1]) and not list(kinds.data_slots(cls))
