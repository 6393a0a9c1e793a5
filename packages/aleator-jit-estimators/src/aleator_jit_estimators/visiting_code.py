"""What functions, classes and modules that a program finds lead to."""

from __future__ import annotations

import builtins
import sys
from collections.abc import Mapping
from importlib.util import resolve_name
from types import FunctionType, ModuleType
from typing import TYPE_CHECKING, Any, final

from aleator_jit_estimators import kinds
from aleator_jit_estimators.code_facts import Import, code_facts, fingerprint
from aleator_jit_estimators.namespaces import Namespace

if TYPE_CHECKING:
    from aleator_jit_estimators.reached import Reached

__all__ = ["ClassOf", "visit_builtin", "visit_class", "visit_function", "visit_module"]


@final
class ClassOf:
    """Stands for a class of which only instances were met."""

    __slots__ = ("cls",)

    def __init__(self, cls: type) -> None:
        self.cls = cls


def visit_module(found: Reached, path: str, module: ModuleType) -> None:
    """Note a module that code holds in its hands: every name that some code mentions may be taken from it."""
    name = module.__name__
    found.note(path, ("module", name))
    if kinds.is_official(name):
        found.official(path, name)
    else:
        found.spaces.append(Namespace(path, vars(module)))


def visit_builtin(found: Reached, path: str, value: Any) -> None:  # noqa: ANN401  # a function written in C
    """Note a function written in C, with the object that it is bound to."""
    owner, name = value.__self__, value.__name__
    if owner is None or isinstance(owner, ModuleType):
        if name in kinds.FORBIDDEN_BUILTINS and value is getattr(builtins, name):
            found.refuse(path, f"the program calls {name}(), so that it cannot be told what it reads")
        found.official(path, str(getattr(value, "__module__", None) or "builtins"), name)
        return
    found.note(path, ("builtin", name))
    found.enqueue(path, [owner])
    if kinds.impure(f"{type(owner).__module__}.{type(owner).__qualname__}"):
        found.refuse(path, f"the program calls {name}, whose result changes from call to call")


def visit_function(found: Reached, path: str, function: FunctionType) -> None:
    """Note a function: its code, and what the code looks up, in the state in which that is now."""
    home, name = str(function.__globals__.get("__name__")), function.__code__.co_qualname
    is_official = kinds.is_official(home)
    if is_official:
        found.official(path, home, name)
        if "<locals>" not in name:
            return
    found.watch.add_function(function)
    for variable, cell in zip(function.__code__.co_freevars, function.__closure__ or (), strict=True):
        found.enqueue(f"{name}: {variable}", [cell])
    for what, each in (("defaults", function.__defaults__), ("keywords", function.__kwdefaults__)):
        if each is not None:
            found.enqueue(f"{path}: {what}", [each])
    if function.__dict__:
        found.enqueue(path, [function.__dict__])
    if is_official:
        return
    facts = code_facts(function.__code__)
    found.note(path, ("function", fingerprint(function.__code__)))
    if facts.writes:
        found.refuse(path, f"{name} assigns {facts.writes[0]!r}, which a compiled step would not do")
    found.mentions |= facts.mentions
    if kinds.has_computed_names(facts.mentions):
        found.mentions.add("*")
    for chain in facts.chains:
        _follow(found, name, function.__globals__, chain)
    for each in facts.imports:
        _import(found, name, function.__globals__, each)


def visit_class(found: Reached, path: str, cls: type, is_met: bool = True) -> None:
    """Note a class: of one that is not told by its name, the attributes that some code mentions.

    Args:
        found: the walk.
        path: where.
        cls: the class.
        is_met: whether code holds the class itself, and may make instances; else it only holds one.
    """
    home = str(cls.__module__)
    found.note(path, ("class", home, cls.__qualname__))
    if kinds.is_official(home):
        found.official(path, home, cls.__qualname__)
        return
    if type(cls) is not type:
        found.enqueue(path, [type(cls)])
    bases = [base for base in cls.__mro__[1:] if base is not object]
    official = [base for base in bases if kinds.is_official(base.__module__)]
    always = {"*"} if any(map(kinds.opens_all, official)) else {name for base in official for name in dir(base)}
    for base in bases:
        found.enqueue_class(path, base)
    found.spaces.append(Namespace(path, vars(cls), always | (kinds.CONSTRUCTORS if is_met else set()), is_class=True))


def _follow(found: Reached, name: str, space: Mapping[str, Any], chain: tuple[str, ...]) -> None:
    """Resolve a global, and the attributes taken from modules after it."""
    path = name
    value: Any = None
    for at, each in enumerate(chain):
        path = f"{path}: {each}" if at == 0 else f"{path}.{each}"
        is_known = each in space
        if at == 0 or not kinds.is_official(space.get("__name__", "")):
            found.look_up(space, each)
        elif kinds.impure(dotted := f"{space.get('__name__')}.{each}"):
            found.refuse(path, f"the program calls {dotted}, whose result changes from call to call")
        value = space[each] if is_known else getattr(builtins, each, None) if at == 0 else None
        found.note(path, ("global", each, is_known))
        if not isinstance(value, ModuleType) or at + 1 == len(chain):
            break
        found.note(path, ("module", value.__name__))
        space = vars(value)
    found.enqueue(path, [value])


def _import(found: Reached, name: str, space: Mapping[str, Any], statement: Import) -> None:
    package = space.get("__package__") or ""
    written = "." * statement.level + statement.module
    full = resolve_name(written, package) if statement.level else written
    module = sys.modules.get(full)
    found.note(name, ("import", full, statement.names, module is None))
    found.watch.add_names(sys.modules, *(((full,), ()) if full in sys.modules else ((), (full,))))
    if module is None:
        return
    parts = full.split(".")
    first = 1 if not statement.names else len(parts)
    for count in range(first, len(parts) + 1):
        found.enqueue(f"{name}: {full}", [sys.modules.get(".".join(parts[:count]))])
    for each in statement.names:
        if each in vars(module):
            _follow(found, name, vars(module), (each,))
