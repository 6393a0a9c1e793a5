"""Small real projects, one for each way in which a plugin can be broken: built and installed by pip.

Each is a ``pyproject.toml``, a package and one of the manifests in ``manifests/``.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

MANIFESTS = Path(__file__).resolve().parent / "manifests"

HEALTHY = {"broken-healthy": "healthy", "aleator-importance": "healthy_official"}
BROKEN = {
    "broken-import-error": "import_error",
    "broken-system-exit": "system_exit",
    "broken-metadata": "healthy",
    "broken-nameless": "healthy",
    "broken-wrong-api": "wrong_api",
    "broken-bad-signature": "bad_signature",
    "broken-unknown-hook": "unknown_hook",
    "broken-hook-raises": "hook_raises",
    "broken-bad-target": "bad_target",
    "broken-not-an-estimator": "not_an_estimator",
    "broken-duplicate-a": "duplicate_name",
    "broken-duplicate-b": "duplicate_name",
    "broken-official-name": "official_name",
    "aleator-renyi": "import_error",
}

PYPROJECT = """\
[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{name}"
version = "1.2"

[project.entry-points.aleator]
{entry_point} = "{package}._plugin"

[tool.hatch.build.targets.wheel]
packages = ["{package}"]
"""


def write_project(folder: Path, name: str, manifest: str) -> Path:
    """Write the sources of one distribution; return their folder."""
    package = name.replace("-", "_")
    place = folder / name
    (place / package).mkdir(parents=True)
    entry_point = name.partition("-")[2]
    (place / "pyproject.toml").write_text(PYPROJECT.format(name=name, package=package, entry_point=entry_point))
    (place / package / "__init__.py").touch()
    (place / package / "_plugin.py").write_text((MANIFESTS / f"{manifest}.py").read_text())
    return place


def install(projects: Iterable[Path], target: Path) -> None:
    """Build the projects and install them into a folder, as pip installs any distribution."""
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index"]
    command += ["--no-deps", "--no-build-isolation", "--target", str(target), *map(str, projects)]
    subprocess.run(command, check=True)


def damage_metadata(target: Path) -> None:
    """Do to two installed distributions what a failed edit or a full disk does.

    A line without an equals sign is not among the damages: on it Python's own ``importlib.metadata.entry_points``
    raises, and with that ``import torch``, which looks for device backends. The unit tests of discovery have it.
    """
    (metadata,) = target.glob("broken_metadata-*.dist-info")
    (metadata / "entry_points.txt").write_text("[aleator]\nmetadata = broken metadata\n")
    (metadata,) = target.glob("broken_nameless-*.dist-info")
    (metadata / "METADATA").write_text("Metadata-Version: 2.4\nVersion: 1.2\n")


def install_all(folder: Path) -> tuple[Path, Path]:
    """Install everything; return the folder with all but the interrupted plugin, and the folder with that."""
    broken, interrupted = folder / "broken", folder / "interrupted"
    sources = {name: write_project(folder / "src", name, manifest) for name, manifest in {**BROKEN, **HEALTHY}.items()}
    install(sources.values(), broken)
    damage_metadata(broken)
    extra = write_project(folder / "src", "broken-keyboard-interrupt", "keyboard_interrupt")
    install([extra, sources["broken-healthy"]], interrupted)
    return broken, interrupted
