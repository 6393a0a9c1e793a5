"""Which objects are told by a name or by their text, which are harmless, and which names all code may read."""

from __future__ import annotations

import dataclasses
import os
import sys
from collections.abc import Iterator
from datetime import date, time, timedelta, tzinfo
from decimal import Decimal
from fractions import Fraction
from pathlib import PurePath
from re import Pattern
from types import (
    BuiltinFunctionType,
    ClassMethodDescriptorType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodDescriptorType,
    MethodWrapperType,
    WrapperDescriptorType,
)
from typing import Any
from uuid import UUID

import torch
from torch.distributions.constraints import Constraint

from aleator.distributions import Distribution
from aleator.infer import AbstractEstimator
from aleator.messenger import Messenger

__all__ = [
    "ATOMS",
    "BOUND_BUILTINS",
    "CONSTRUCTORS",
    "DESCRIPTORS",
    "FORBIDDEN_BUILTINS",
    "MODULE_DATA",
    "NOISE",
    "PROTOCOLS",
    "data_slots",
    "has_computed_names",
    "impure",
    "is_native",
    "is_official",
    "is_opaque_and_harmless",
    "is_standard",
    "library_version",
    "opens_all",
    "own_text",
    "recomputable",
]

ATOMS = (bool, int, float, complex, str, bytes, type(None), torch.dtype, torch.device, torch.Size, slice, range)
_BY_TEXT: tuple[type, ...] = (date, time, timedelta, tzinfo, Decimal, Fraction, PurePath, UUID)
_BY_TEXT += (torch.finfo, torch.iinfo, torch.layout, torch.memory_format, type(...), type(NotImplemented))
BOUND_BUILTINS = (BuiltinFunctionType, MethodWrapperType)
DESCRIPTORS = (
    ClassMethodDescriptorType,
    GetSetDescriptorType,
    MemberDescriptorType,
    MethodDescriptorType,
    WrapperDescriptorType,
)
_OFFICIAL = {"torch", "aleator"} | {
    f"aleator_{name}" for name in "enum_discrete importance jit_estimators posterior renyi svi_elbo".split()
}
# Told by name, with the version of their distribution in the key: walking them would lead through all of them.
_LIBRARIES = ("numpy",)
_HARMLESS = ("_thread.lock", "_thread.RLock", "_abc._abc_data", "builtins.object", "types.GenericAlias")
_HARMLESS_MODULES = ("logging", "typing")
_IMPURE = ("random", "time", "secrets", "uuid", "tempfile", "socket", "subprocess", "urllib", "numpy.random", "os")
_PURE = ("os.path.join", "os.environ", "os._Environ", "os.sep", "os.fspath", "posixpath", "time.struct_time")
_STANDARD = os.path.dirname(os.__file__)
_HEAP_TYPE = 1 << 9  # of a class's flags: set for those that Python code made
FORBIDDEN_BUILTINS = frozenset({"open", "input", "eval", "exec", "globals", "__import__"})
_COMPUTED = frozenset("__dict__ asdict astuple attrgetter dir fields getattr methodcaller vars".split())
# What the framework asks of objects that merely behave like one of its own classes.
PROTOCOLS = frozenset(
    name for cls in (Distribution, Messenger, AbstractEstimator, Constraint) for name in dir(cls) if name[:2] != "__"
)
MODULE_DATA = frozenset(vars(torch.nn.Module()))
CONSTRUCTORS = frozenset({"__init__", "__new__", "__post_init__", "__init_subclass__", "__set_name__"})
NOISE = frozenset(
    "__abstractmethods__ __annotations__ __dataclass_fields__ __dataclass_params__ __dict__ __doc__ __firstlineno__ "
    "__match_args__ __module__ __orig_bases__ __parameters__ __qualname__ __slots__ __static_attributes__ "
    "__weakref__ __annotate__ __annotate_func__ __annotations_cache__ __hash__ _abc_impl".split()
)


def is_official(module: object) -> bool:
    """Tell whether what a module defines is told by the versions that the cache's names carry."""
    top = str(module).partition(".")[0]
    return top in _OFFICIAL or is_standard(top) or _library(top)


def is_standard(top: str) -> bool:
    """Tell whether a module is Python's own, and not a user's file of the same name."""
    if top not in sys.stdlib_module_names:
        return False
    file = getattr(sys.modules.get(top), "__file__", None)
    return file is None or str(file).startswith(_STANDARD)


def is_native(cls: type) -> bool:
    """Tell whether instances may hold something that no attribute shows: a base of the class is written in C."""
    bases = [base for base in cls.__mro__ if base is not object]
    return any(not base.__flags__ & _HEAP_TYPE or type(base).__name__ == "pybind11_type" for base in bases)


def _library(top: str) -> bool:
    return top in _LIBRARIES


def library_version(module: str) -> str | None:
    """Return the version of a library that is told by name."""
    top = module.partition(".")[0]
    return str(getattr(sys.modules.get(top), "__version__", "")) if _library(top) else None


def impure(name: str) -> bool:
    """Tell whether something told by this dotted name gives another value each time, or reads the world outside."""
    return any(name == each or name.startswith(each + ".") for each in _IMPURE) and not name.startswith(_PURE)


def has_computed_names(mentions: frozenset[str]) -> bool:
    """Tell whether code may read attributes whose names stand nowhere in it."""
    return not _COMPUTED.isdisjoint(mentions)


def own_text(value: Any) -> str | None:  # noqa: ANN401  # anything
    """Return the text that says all about an immutable value; ``None`` for what has none."""
    if isinstance(value, _BY_TEXT):
        return repr(value)
    if isinstance(value, Pattern):
        return f"{value.pattern!r} {value.flags}"
    if isinstance(value, (torch._ops.OpOverload, torch._ops.OpOverloadPacket)):
        return str(value)
    kind = type(value)
    if kind.__name__ == "_tuplegetter":  # what reads a field of a named tuple
        return repr(value.__reduce__())
    if kind.__module__ == "numpy" and kind.__name__.startswith("dtype"):
        return repr(value)
    return repr(value) if kind.__module__ == "numpy.dtypes" else None


def is_opaque_and_harmless(value: Any) -> bool:  # noqa: ANN401  # anything
    """Tell whether nothing of an object that cannot be looked into reaches a result: a lock, a sentinel."""
    kind = type(value)
    return f"{kind.__module__}.{kind.__qualname__}" in _HARMLESS or kind.__module__ in _HARMLESS_MODULES


def opens_all(base: type) -> bool:
    """Tell whether a class of the framework may look for attributes of a subclass by names that it makes up."""
    top = str(base.__module__).partition(".")[0]
    return base is not torch.nn.Module and top in _OFFICIAL


def recomputable(value: Any) -> frozenset[str]:  # noqa: ANN401  # an instance of an official class
    """Return the fields of an official dataclass that only keep what has been found out: they do not compare."""
    if not dataclasses.is_dataclass(value):
        return frozenset()
    return frozenset(field.name for field in dataclasses.fields(value) if not field.compare)


def data_slots(cls: type) -> Iterator[str]:
    """Yield the names of the slots of a class and its bases."""
    for base in cls.__mro__:
        slots = base.__dict__.get("__slots__", ())
        for name in (slots,) if isinstance(slots, str) else slots:
            if name not in ("__dict__", "__weakref__"):
                private = name.startswith("__") and not name.endswith("__")
                yield f"_{base.__name__.lstrip('_')}{name}" if private else name
