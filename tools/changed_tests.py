"""Print the tests of what changed since the merge base with the main branch, or is not committed: a path a line.

A changed test file stands for itself; a changed module for the tests that carry its name, and where there are none
for all tests of its package. Tests that need built wheels are left to the whole run.
"""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

from packages import ROOT, Package, load_packages

NEED_WHEELS = {"core_alone", "broken_plugins", "third_party", "typing"}


def git(*arguments: str) -> list[str]:
    """Return the lines that a git command prints; none where it fails."""
    result = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True, check=False)
    return result.stdout.split("\n")[:-1] if result.returncode == 0 else []


def changed_paths() -> list[Path]:
    """Return the files that differ from the merge base, committed or not, and the new ones."""
    bases = [line for name in ("origin/HEAD", "origin/main", "main") for line in git("merge-base", "HEAD", name)]
    names = git("diff", "--name-only", bases[0] if bases else "HEAD")
    names += git("ls-files", "--others", "--exclude-standard")
    return [ROOT / name for name in dict.fromkeys(names) if (ROOT / name).is_file()]


def tests_of_module(package: Package, module: Path) -> set[Path]:
    """Return the test files that carry a module's name, else the folder of tests that mirrors its own."""
    name = module.parent.name if module.stem == "__init__" else module.stem.strip("_")
    named = re.compile(rf"test_(.*_)?{re.escape(name)}(_.*)?\.py")
    found = {test for test in package.tests.rglob("test_*.py") if named.fullmatch(test.name)}
    mirror = package.tests / module.relative_to(package.source).parent.relative_to(str(package.import_name))
    return found or ({mirror} if mirror.is_dir() else {package.tests})


def selection(path: Path, packages: dict[str, Package]) -> set[Path]:
    """Return the tests of one changed file."""
    parts = path.relative_to(ROOT).parts
    is_test = path.name.startswith("test_") and path.suffix == ".py"
    if parts[0] == "integration_tests" and is_test and parts[1] not in NEED_WHEELS:
        return {path}
    if parts[0] != "packages" or path.suffix != ".py":
        return set()
    package = packages[parts[1]]
    if path.is_relative_to(package.tests):
        return {path} if is_test else {package.tests}
    return tests_of_module(package, path) if path.is_relative_to(package.source) else set()


def main() -> None:
    """Print the selected tests, without those inside a folder that is selected whole."""
    packages = load_packages()
    chosen = {test for path in changed_paths() for test in selection(path, packages) if test.exists()}
    for test in sorted(chosen):
        if not any(folder in chosen for folder in test.parents):
            print(test)


if __name__ == "__main__":
    main()
