"""Rules 1, 2 and 4 across packages: what a package imports it declares, and it enters others by their public names.

Checked on every import statement, also those inside functions and under ``TYPE_CHECKING``:

- an import of another distribution is declared in ``pyproject.toml`` (the core declares no sibling, so it imports
  none); what an extra brings is imported inside functions only, so that the package works without it;
- nothing private (a module or name with a leading underscore) is imported from another distribution;
- a plugin's entry-point module imports ``aleator.plugins`` alone, so that discovery stays light;
- pluggy is imported in ``aleator.plugins`` only: no hook runs where sites are sampled.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

from packages import Package, load_packages, requirement_name
from sources import definitions, finish, name_of, parse, relative

THROUGH_THE_CORE = {"torch"}  # tensors are the core's own language: whoever has the core has torch


def imports(tree: ast.AST) -> Iterator[tuple[int, str, str]]:
    """Yield the line, the module and the name (or an empty string) of every import."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            yield from ((node.lineno, node.module, alias.name) for alias in node.names)


def late_lines(tree: ast.Module) -> set[int]:
    """Return the lines of the imports that do not run when the module is imported."""
    late: list[ast.AST] = [node for _, node in definitions(tree) if not isinstance(node, ast.ClassDef)]
    late += [node for node in tree.body if isinstance(node, ast.If) and name_of(node.test) == "TYPE_CHECKING"]
    return {line for node in late for line, *_ in imports(node)}


def declared_by(package: Package) -> set[str]:
    """Return the distributions that a package declares."""
    return {requirement_name(requirement) for requirement in package.requirements}


def unused(package: Package, owners: dict[str, str]) -> list[str]:
    """Return a message for each declared distribution that no module of the package imports."""
    if package.import_name is None:
        return []
    trees = map(parse, package.source.rglob("*.py"))
    tops = {module.split(".")[0] for tree in trees for _, module, _ in imports(tree)}
    imported = {owners.get(top, requirement_name(top)) for top in tops}
    return [f"{package.name} declares {name} and never imports it" for name in sorted(declared_by(package) - imported)]


def _is_private(part: str) -> bool:
    return part.startswith("_") and not part.endswith("__")


def problem(
    package: Package, owners: dict[str, str], path: Path, module: str, name: str, late: bool = False
) -> str | None:
    """Return what is wrong with one import, or ``None``; ``late`` where importing the module does not run it."""
    top = module.split(".")[0]
    if top in sys.stdlib_module_names:
        return None
    if path.relative_to(package.source).with_suffix("").as_posix().replace("/", ".") in package.entry_points.values():
        return None if module == "aleator.plugins" else "an entry-point module imports aleator.plugins alone"
    if top == package.import_name:
        return None
    if top == "pluggy" and "plugins" not in path.parts:
        return "pluggy belongs to aleator.plugins: no hook runs where sites are sampled"
    provider = owners.get(top, requirement_name(top))
    if provider in set(map(requirement_name, package.extras)) - declared_by(package):
        if not late:
            return f"{owners.get(top, top)} is an extra of {package.name}: import it inside the function that uses it"
    elif provider not in {*declared_by(package), *THROUGH_THE_CORE}:
        return f"{package.name} does not declare {owners.get(top, top)}"
    if top in owners and any(map(_is_private, [*module.split("."), name])):
        return f"{module}.{name} is private to {owners[top]}".replace(". ", " ")
    return None


def main() -> None:
    """Print every import that is undeclared, private or misplaced."""
    packages = load_packages()
    owners = {package.import_name: package.name for package in packages.values() if package.import_name}
    problems, count = [], 0
    for package in packages.values():
        problems += unused(package, owners)
        for path in sorted(package.source.rglob("*.py")):
            tree = parse(path)
            late = late_lines(tree)
            for line, module, name in imports(tree):
                count += 1
                if found := problem(package, owners, path, module, name, late=line in late):
                    problems.append(f"{relative(path)}:{line}: {found}")
    finish(problems, f"{count} imports are declared, public and in their place")


if __name__ == "__main__":
    main()
