"""The packages of this repository as a graph, read from their ``pyproject.toml`` files.

Sessions, lints and scaffolding ask this module; no other file lists the packages.
Run it to see the graph: ``python tools/packages.py``.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from graphlib import TopologicalSorter
from pathlib import Path
from typing import final

__all__ = ["ROOT", "Package", "closure", "dependents", "load_packages", "read_package", "requirement_name"]

ROOT = Path(__file__).resolve().parent.parent


@final
@dataclass(frozen=True)
class Package:
    """One distribution of the repository.

    Attributes:
        name: the distribution's name, which is its folder's too.
        version: the static version in its metadata.
        requirements: the requirement strings as written.
        siblings: names of distributions of this repository that it declares.
        import_name: the one import package that it ships; ``None`` where it ships no code.
        entry_points: names of the group ``aleator`` to their module.
        extras: the requirement strings of all its optional dependencies.
    """

    name: str
    version: str
    requirements: tuple[str, ...]
    siblings: tuple[str, ...]
    import_name: str | None
    entry_points: Mapping[str, str]
    extras: tuple[str, ...] = ()

    @property
    def folder(self) -> Path:
        """The folder that holds ``pyproject.toml``."""
        return ROOT / "packages" / self.name

    @property
    def source(self) -> Path:
        """The folder to put on a path to import the package from its sources."""
        return self.folder / "src"

    @property
    def tests(self) -> Path:
        """The folder of the package's tests; it may not exist."""
        return self.folder / "tests"


def requirement_name(requirement: str) -> str:
    """Return the normalized distribution name that a requirement string starts with."""
    match = re.match(r"[A-Za-z0-9._-]+", requirement)
    if match is None:
        raise ValueError(f"not a requirement: {requirement!r}")
    return re.sub(r"[-_.]+", "-", match.group()).lower()


def read_package(path: Path, names: Iterable[str]) -> Package:
    """Return what a ``pyproject.toml`` states; ``names`` are the distributions that count as siblings."""
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    project = document["project"]
    requirements = tuple(project.get("dependencies", ()))
    wheel = document["tool"]["hatch"]["build"]["targets"]["wheel"]
    shipped = [Path(entry).name for entry in wheel.get("packages", ())]
    if len(shipped) > 1:
        raise ValueError(f"{path}: a distribution ships one import package, found {', '.join(shipped)}")
    return Package(
        name=project["name"],
        version=project["version"],
        requirements=requirements,
        siblings=tuple(name for name in map(requirement_name, requirements) if name in names),
        import_name=shipped[0] if shipped else None,
        entry_points=project.get("entry-points", {}).get("aleator", {}),
        extras=tuple(each for extra in project.get("optional-dependencies", {}).values() for each in extra),
    )


def load_packages() -> dict[str, Package]:
    """Return every package by name, dependencies before their dependents.

    Raises:
        ValueError: where a folder is not named after its distribution, or the graph has a cycle.
    """
    paths = sorted((ROOT / "packages").glob("*/pyproject.toml"))
    names = {path.parent.name for path in paths}
    found = {}
    for path in paths:
        package = read_package(path, names)
        if package.name != path.parent.name:
            raise ValueError(f"{path}: the folder of {package.name} must be called packages/{package.name}")
        found[package.name] = package
    order = TopologicalSorter({name: package.siblings for name, package in found.items()}).static_order()
    return {name: found[name] for name in order}


def closure(name: str, packages: Mapping[str, Package]) -> tuple[str, ...]:
    """Return a package and all siblings that it needs, directly or not, dependencies first."""
    needed: set[str] = set()
    waiting = [name]
    while waiting:
        current = waiting.pop()
        if current not in needed:
            needed.add(current)
            waiting.extend(packages[current].siblings)
    return tuple(each for each in packages if each in needed)


def dependents(name: str, packages: Mapping[str, Package]) -> tuple[str, ...]:
    """Return a package and all that need it, directly or not."""
    return tuple(each for each in packages if name in closure(each, packages))


def main() -> None:
    """Print the graph, one package a line."""
    packages = load_packages()
    for package in packages.values():
        needs = ", ".join(package.siblings) or "no sibling"
        print(f"{package.name} {package.version} (imports as {package.import_name}): needs {needs}")


if __name__ == "__main__":
    main()
