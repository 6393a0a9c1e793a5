"""Check what the built wheels hold: the package with its type marker, and no tests.

Run as ``python tools/inspect_wheels.py dist``.
"""

from __future__ import annotations

import sys
import zipfile
from pathlib import Path

from packages import Package, load_packages


def problems(package: Package, dist: Path) -> list[str]:
    """Return what is wrong with the one wheel of a package, a sentence each."""
    wheels = sorted(dist.glob(f"{package.name.replace('-', '_')}-[0-9]*.whl"))
    if len(wheels) != 1:
        return [f"{package.name}: expected one wheel in {dist.name}/, found {len(wheels)}"]
    with zipfile.ZipFile(wheels[0]) as archive:
        names = archive.namelist()
        entry_points = [archive.read(name).decode() for name in names if name.endswith("entry_points.txt")]
    code = [name for name in names if ".dist-info/" not in name]
    found = [f"{package.name}: ships {name}" for name in code if "tests" in Path(name).parts or "__pycache__" in name]
    found += [f"{package.name}: ships {name}" for name in code if Path(name).parts[0] != package.import_name]
    if package.import_name and f"{package.import_name}/py.typed" not in code:
        found.append(f"{package.name}: lacks {package.import_name}/py.typed")
    if package.import_name and f"{package.import_name}/__init__.py" not in code:
        found.append(f"{package.name}: lacks {package.import_name}/__init__.py")
    for point, target in package.entry_points.items():
        if not any(f"{point} = {target}" in text for text in entry_points):
            found.append(f"{package.name}: lacks the entry point {point} = {target}")
        if f"{target.replace('.', '/')}.py" not in code:
            found.append(f"{package.name}: lacks the module {target} of its entry point {point}")
    return found


def main() -> None:
    """Print every problem and exit with 1 where there is one."""
    dist = Path(sys.argv[1])
    found = [line for package in load_packages().values() for line in problems(package, dist)]
    print("\n".join(found) or f"{len(load_packages())} wheels hold what they should")
    sys.exit(bool(found))


if __name__ == "__main__":
    main()
