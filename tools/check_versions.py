"""Every package has the same version, pins its siblings to it, and supports the same Pythons."""

from __future__ import annotations

import re
import tomllib

from packages import Package, load_packages, requirement_name
from sources import finish

VERSION = re.compile(r'^__version__ = "(?P<version>[^"]+)"$', re.MULTILINE)


def _front(package: Package) -> str:
    front = package.source / str(package.import_name) / "__init__.py"
    return front.read_text(encoding="utf-8") if front.exists() else ""


def main() -> None:
    """Print every package that is out of step."""
    packages = load_packages()
    versions = {package.version for package in packages.values()}
    problems = [] if len(versions) == 1 else [f"packages are at different versions: {', '.join(sorted(versions))}"]
    pythons = set()
    for package in packages.values():
        document = tomllib.loads((package.folder / "pyproject.toml").read_text(encoding="utf-8"))
        pythons.add(document["project"]["requires-python"])
        for requirement in package.requirements:
            sibling = packages.get(requirement_name(requirement))
            if sibling and requirement != f"{sibling.name}~={sibling.version}":
                problems.append(f"{package.name}: write {sibling.name}~={sibling.version}, not {requirement}")
        unknown = set(document) - {"build-system", "project", "tool"} | set(document["tool"]) - {"hatch"}
        if unknown:
            problems.append(f"{package.name}: {', '.join(sorted(unknown))} belongs in the root pyproject.toml")
        stated = VERSION.search(_front(package))
        if stated and stated["version"] != package.version:
            problems.append(f"{package.name}: its __version__ is {stated['version']}, its metadata's {package.version}")
    if len(pythons) != 1:
        problems.append(f"packages ask for different Pythons: {', '.join(sorted(pythons))}")
    finish(problems, f"{len(packages)} packages are at {', '.join(versions)}")


if __name__ == "__main__":
    main()
