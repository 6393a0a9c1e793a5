"""The Python sources of the repository as the checks see them, and the exceptions that the checks allow.

An exception is a table in ``tools/allowed.toml`` under its check's name, keyed by ``path``,
``path::qualified.name`` or ``folder/`` (all that lies under it), with a ``reason``. An exception that is no longer
needed is a problem too, so the list can only shrink or be argued anew.
"""

from __future__ import annotations

import ast
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from packages import ROOT, load_packages

__all__ = ["Definition", "Exceptions", "definitions", "finish", "name_of", "package_files", "parse", "relative"]

Definition = ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def relative(path: Path) -> str:
    """Return a path as the allow-list and the messages write it."""
    return path.relative_to(ROOT).as_posix()


def package_files() -> Iterator[Path]:
    """Yield every module that a package ships."""
    for package in load_packages().values():
        yield from sorted(path for path in package.source.rglob("*.py") if "__pycache__" not in path.parts)


def parse(path: Path) -> ast.Module:
    """Return a file's syntax tree."""
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def definitions(node: ast.AST, prefix: str = "") -> Iterator[tuple[str, Definition]]:
    """Yield every class and function under a node with its qualified name, the outer before the inner."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Definition):
            name = f"{prefix}{child.name}"
            yield name, child
            yield from definitions(child, f"{name}.")
        else:
            yield from definitions(child, prefix)


def name_of(node: ast.AST) -> str:
    """Return the last part of a dotted name or of what is called or subscripted, or an empty string."""
    if isinstance(node, ast.Call):
        return name_of(node.func)
    if isinstance(node, ast.Subscript):
        return name_of(node.value)
    return node.attr if isinstance(node, ast.Attribute) else node.id if isinstance(node, ast.Name) else ""


@final
@dataclass
class Exceptions:
    """What one check lets pass, and which of it was asked for."""

    check: str
    entries: Mapping[str, Mapping[str, Any]]
    used: set[str] = field(default_factory=set)

    @classmethod
    def load(cls, check: str) -> Exceptions:
        """Read a check's table from ``tools/allowed.toml``."""
        document = tomllib.loads((ROOT / "tools" / "allowed.toml").read_text(encoding="utf-8"))
        return cls(check, document.get(check, {}))

    def find(self, key: str) -> Mapping[str, Any] | None:
        """Return the exception for a key or for a folder that it lies in, and note that it is needed."""
        folders = (each for each in self.entries if each.endswith("/") and key.startswith(each))
        needed = key if key in self.entries else next(folders, key)
        self.used.add(needed)
        return self.entries.get(needed)

    def problems(self) -> list[str]:
        """Return what is wrong with the list itself: entries that nothing needs, or without a reason."""
        stale = [f"tools/allowed.toml: {self.check}.{key!r} is needed no more" for key in set(self.entries) - self.used]
        bare = [key for key, entry in self.entries.items() if not str(entry.get("reason", "")).strip()]
        return sorted(stale) + [f"tools/allowed.toml: {self.check}.{key!r} lacks a reason" for key in bare]


def finish(problems: list[str], success: str) -> None:
    """Print the problems and exit with 1, or print what was found to hold."""
    print("\n".join(problems) or success)
    sys.exit(bool(problems))
