"""Rules 6 and 10: state lives with the run or in the store; what a module keeps is a constant or an argued cache.

Flagged in what packages ship: ``global`` statements, containers of a module that its functions change, and functions
cached by ``functools``. A process-wide object that is right (the default store, a cache keyed by what it was computed
from) has its reason in ``tools/allowed.toml`` under ``state``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from sources import Exceptions, definitions, finish, name_of, package_files, parse, relative

CHANGES = {"append", "add", "update", "setdefault", "pop", "popitem", "clear", "extend", "insert", "remove", "discard"}
CONTAINERS = {"dict", "list", "set", "defaultdict", "OrderedDict", "Counter", "deque"}
CACHES = {"cache", "lru_cache"}


def _is_container(value: ast.expr | None) -> bool:
    literal = isinstance(value, ast.Dict | ast.List | ast.Set | ast.DictComp | ast.ListComp | ast.SetComp)
    called = name_of(value) if isinstance(value, ast.Call) else ""
    return literal or called in CONTAINERS or called.endswith(("Dictionary", "WeakSet"))


def module_containers(tree: ast.Module) -> set[str]:
    """Return the names that a module binds to containers."""
    found = set()
    for node in tree.body:
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        if targets and _is_container(node.value):  # type: ignore[attr-defined]  # both kinds of assignment have a value
            found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


def _changed_name(node: ast.AST) -> str | None:
    target: ast.AST | None = None
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in CHANGES:
        target = node.func.value
    elif isinstance(node, ast.Subscript) and isinstance(node.ctx, ast.Store | ast.Del):
        target = node.value
    return target.id if isinstance(target, ast.Name) else None


def kept_state(tree: ast.Module) -> Iterator[tuple[int, str, str]]:
    """Yield the line, the name and the kind of everything that a module keeps and changes."""
    containers = module_containers(tree)
    for name, node in definitions(tree):
        if isinstance(node, ast.ClassDef):
            continue
        if any(name_of(mark) in CACHES for mark in node.decorator_list):
            yield node.lineno, name, "keeps its results"
        for inner in ast.walk(node):
            if isinstance(inner, ast.Global):
                yield from ((inner.lineno, each, "is rebound by `global`") for each in inner.names)
            elif (changed := _changed_name(inner)) in containers and changed is not None:
                yield node.lineno, changed, "is changed by functions"


def main() -> None:
    """Print every piece of state that no exception argues for."""
    allowed = Exceptions.load("state")
    problems, count = [], 0
    for path in package_files():
        for line, name, kind in sorted(set(kept_state(parse(path)))):
            count += 1
            key = f"{relative(path)}::{name}"
            if allowed.find(key) is None:
                problems.append(f"{key} (line {line}) {kind}; state belongs to a run, a context or the store")
    finish(problems + allowed.problems(), f"{count} process-wide objects, each with a reason")


if __name__ == "__main__":
    main()
