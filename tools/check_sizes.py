"""A file has one concept and at most 300 lines; a function has at most 40 beside its docstring.

Exceptions are in ``tools/allowed.toml`` under ``sizes`` with their present ``lines``: they may shrink, not grow.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

from packages import ROOT
from sources import Definition, Exceptions, definitions, finish, package_files, parse, relative

FILE_LINES = 300
FUNCTION_LINES = 40


def files() -> Iterator[Path]:
    """Yield the files that the limits hold for: what packages ship, the tools and the noxfile."""
    yield from package_files()
    yield from sorted(path for path in (ROOT / "tools").rglob("*.py") if "__pycache__" not in path.parts)
    yield from sorted(path for path in (ROOT / "docs").rglob("*.py") if "__pycache__" not in path.parts)
    yield ROOT / "noxfile.py"


def function_lines(node: Definition) -> int:
    """Return a function's lines from ``def`` to its end, its docstring's not counted."""
    first = node.body[0]
    documented = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    docstring = (first.end_lineno or 0) - first.lineno + 1 if documented else 0
    return (node.end_lineno or 0) - node.lineno + 1 - docstring


def measures(path: Path) -> Iterator[tuple[str, int, int]]:
    """Yield what is measured in a file: its key, its lines, its limit."""
    yield relative(path), len(path.read_text(encoding="utf-8").splitlines()), FILE_LINES
    for name, node in definitions(parse(path)):
        if not isinstance(node, ast.ClassDef):
            yield f"{relative(path)}::{name}", function_lines(node), FUNCTION_LINES


def main() -> None:
    """Print what is too large."""
    allowed = Exceptions.load("sizes")
    problems, count = [], 0
    for path in files():
        for key, lines, limit in measures(path):
            count += 1
            if lines <= limit:
                continue
            exception = allowed.find(key)
            bound = exception["lines"] if exception else limit
            if lines > bound:
                problems.append(f"{key}: {lines} lines, at most {bound}; split it by concept")
            elif lines < bound:
                problems.append(
                    f"{key}: {lines} lines; lower its {bound} in tools/allowed.toml, so that it stays there"
                )
    finish(problems + allowed.problems(), f"{count} files and functions are within their sizes")


if __name__ == "__main__":
    main()
