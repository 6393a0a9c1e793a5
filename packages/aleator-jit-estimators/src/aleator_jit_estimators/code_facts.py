"""What the bytecode of a program says that it reads and writes beyond its arguments."""

from __future__ import annotations

import dis
from collections.abc import Iterator
from functools import lru_cache
from types import CodeType
from typing import NamedTuple

__all__ = ["CodeFacts", "Import", "code_facts", "fingerprint"]

_ATTRIBUTES = ("LOAD_ATTR", "LOAD_METHOD")
_LOOKUPS = ("LOAD_GLOBAL", "LOAD_NAME")
_CONSTANTS = ("LOAD_CONST", "LOAD_SMALL_INT")


class Import(NamedTuple):
    """An import statement inside a function.

    Attributes:
        module: as it is written.
        level: the number of dots before it.
        names: what ``from module import`` takes; empty for a plain import.
    """

    module: str
    level: int
    names: tuple[str, ...]


class CodeFacts(NamedTuple):
    """What one function, with the functions inside it, looks up.

    Attributes:
        chains: a global with the attributes taken from it at once: ``config.sizes.width``.
        imports: imports inside functions.
        mentions: names that may be an attribute of anything, words in string constants among them.
        writes: globals, and variables of functions around, that the code assigns.
    """

    chains: tuple[tuple[str, ...], ...]
    imports: tuple[Import, ...]
    mentions: frozenset[str]
    writes: tuple[str, ...]


@lru_cache(maxsize=4096)
def code_facts(code: CodeType) -> CodeFacts:
    """Read the bytecode of a function and of those that it contains."""
    chains: dict[tuple[str, ...], None] = {}
    imports: dict[Import, None] = {}
    mentions: set[str] = set()
    writes: dict[str, None] = {}
    _read(code, frozenset(code.co_freevars), chains, imports, mentions, writes)
    return CodeFacts(tuple(sorted(chains)), tuple(imports), frozenset(mentions), tuple(writes))


def fingerprint(code: CodeType) -> tuple[object, ...]:
    """Return what a code object does, in a form that is the same in every process of one version of Python."""
    constants = tuple(_constant(each) for each in code.co_consts)
    return (
        code.co_code,
        constants,
        code.co_names,
        code.co_varnames,
        code.co_freevars,
        code.co_cellvars,
        code.co_flags,
        code.co_argcount,
        code.co_kwonlyargcount,
        code.co_exceptiontable,
    )


def _constant(value: object) -> object:
    if isinstance(value, CodeType):
        return fingerprint(value)
    if isinstance(value, frozenset):  # its order differs between processes
        return ("frozenset", *sorted(map(repr, value)))
    if isinstance(value, tuple):
        return ("tuple", *map(_constant, value))
    return type(value).__name__, repr(value)


def _read(
    code: CodeType,
    outer: frozenset[str],
    chains: dict[tuple[str, ...], None],
    imports: dict[Import, None],
    mentions: set[str],
    writes: dict[str, None],
) -> None:
    mentions.update(code.co_names)
    mentions.update(_words(code.co_consts))
    chain: tuple[str, ...] = ()
    constants: list[object] = []
    for instruction in dis.get_instructions(code):
        name, value = instruction.opname, instruction.argval
        if chain and name not in _ATTRIBUTES:
            chains[chain] = None
            chain = ()
        if name in _LOOKUPS:
            chain = (str(value),)
        elif chain:
            chain = (*chain, str(value))
        elif name in _CONSTANTS:
            constants.append(value)
        elif name == "IMPORT_NAME":
            level, names = constants[-2:]
            imports[Import(str(value), level if isinstance(level, int) else 0, _names(names))] = None
        elif name in ("STORE_GLOBAL", "DELETE_GLOBAL") or (name in ("STORE_DEREF", "DELETE_DEREF") and value in outer):
            writes[str(value)] = None
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            _read(inner, outer & frozenset(inner.co_freevars), chains, imports, mentions, writes)


def _names(value: object) -> tuple[str, ...]:
    return tuple(map(str, value)) if isinstance(value, tuple) else ()


def _words(constants: object) -> Iterator[str]:
    """Yield the strings among constants that could be a name, as in ``getattr(x, "width")``."""
    if isinstance(constants, str):
        if constants.isidentifier():
            yield constants
    elif isinstance(constants, (tuple, frozenset)):
        for each in constants:
            yield from _words(each)
