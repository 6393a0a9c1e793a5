"""Rule 7: nothing in the hot path reads a number back from the device.

Flagged in what packages ship: ``.item() .tolist() .cpu() .numpy()``, ``float(x)`` and ``bool(x)`` of anything but a
literal or a length, ``torch.equal`` and ``torch.allclose``, and ``.any()`` or ``.all()`` as a condition. Where such
a read is right (the edge of a step, a Python number, an error's message), ``tools/allowed.toml`` says why under
``host_reads``.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator

from sources import Exceptions, definitions, finish, name_of, package_files, parse, relative

METHODS = {"item", "tolist", "cpu", "numpy"}
CONVERSIONS = {"float", "bool"}
COMPARISONS = {"equal", "allclose"}
REDUCTIONS = {"any", "all"}


def _is_plain(node: ast.expr) -> bool:
    asks = isinstance(node, ast.Call) and name_of(node) in {"len", "isinstance", "getattr"}
    states = isinstance(node, ast.Attribute) and node.attr.startswith(("has_", "is_"))
    return asks or states or isinstance(node, ast.Constant)


def _read_by_call(node: ast.Call) -> str | None:
    if isinstance(node.func, ast.Attribute):
        if node.func.attr in METHODS and not node.args:
            return f".{node.func.attr}()"
        if node.func.attr in COMPARISONS and name_of(node.func.value) == "torch":
            return f"torch.{node.func.attr}"
    if isinstance(node.func, ast.Name) and node.func.id in CONVERSIONS and len(node.args) == 1:
        return None if _is_plain(node.args[0]) else f"{node.func.id}(...)"
    return None


def _conditions(node: ast.AST) -> Iterator[ast.expr]:
    if isinstance(node, ast.If | ast.While | ast.Assert | ast.IfExp):
        yield node.test
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand
    elif isinstance(node, ast.BoolOp):
        yield from node.values
    elif isinstance(node, ast.comprehension):
        yield from node.ifs


def reads(tree: ast.AST) -> Iterator[tuple[int, str]]:
    """Yield the line and the kind of every read under a node."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and (kind := _read_by_call(node)):
            yield node.lineno, kind
        for test in _conditions(node):
            if isinstance(test, ast.Call) and isinstance(test.func, ast.Attribute) and test.func.attr in REDUCTIONS:
                yield test.lineno, f".{test.func.attr}() as a condition"


def main() -> None:
    """Print every read that no exception argues for."""
    allowed = Exceptions.load("host_reads")
    problems, count = [], 0
    for path in package_files():
        tree = parse(path)
        spans = [(node.lineno, node.end_lineno or 0, name) for name, node in definitions(tree)]
        for line, kind in sorted(set(reads(tree))):
            count += 1
            inner = [name for first, last, name in spans if first <= line <= last]
            key = f"{relative(path)}::{inner[-1] if inner else 'module'}"
            if allowed.find(key) is None:
                problems.append(f"{key} (line {line}): {kind} reads from the device; say why in tools/allowed.toml")
    finish(problems + allowed.problems(), f"{count} host reads, each with a reason")


if __name__ == "__main__":
    main()
