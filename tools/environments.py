"""How a nox session gets its environment and runs its tests; the noxfile says which sessions there are.

Torch is large, so it is installed once, into a base environment that every session's environment reads through a
``.pth`` file. Pip sees it there as installed. The base holds torch with what torch requires and nothing else: no numpy,
so a package that needs more has to declare it. What a session installs is pinned by ``tools/constraints.txt``.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import sys
import sysconfig
import tempfile
from collections.abc import Iterable, Sequence
from pathlib import Path

import nox

from packages import ROOT, Package, closure, load_packages, requirement_name

__all__ = [
    "CONSTRAINTS",
    "DIST",
    "PACKAGES",
    "REPORTS",
    "SEVERAL_WORKERS",
    "build_wheels",
    "external_requirements",
    "install",
    "install_sources",
    "install_wheels",
    "python_of",
    "report_name",
    "run_pytest",
    "share_torch",
    "wheel_of",
]

PACKAGES = load_packages()
CONSTRAINTS = ROOT / "tools" / "constraints.txt"
DIST = ROOT / "dist"
REPORTS = ROOT / ".nox" / "reports"


def python_of(session: nox.Session, name: str) -> Path:
    """Return the interpreter of another session's environment."""
    return _python(Path(session.virtualenv.location).parent / name)


def _site_packages(environment: Path) -> Path:
    places = {"base": str(environment), "platbase": str(environment)}
    return Path(sysconfig.get_path("purelib", "venv", places))


def _python(environment: Path) -> Path:
    windows = os.name == "nt"
    return environment / ("Scripts" if windows else "bin") / ("python.exe" if windows else "python")


def _torch_base(session: nox.Session) -> Path:
    pin = next(line for line in CONSTRAINTS.read_text(encoding="utf-8").splitlines() if line.startswith("torch=="))
    key = hashlib.sha256(f"{pin} {sys.version_info[:2]}".encode()).hexdigest()[:8]
    environment = ROOT / ".nox" / f".torch-{key}"
    complete = environment / "complete"
    if not complete.exists():
        session.log(f"installing {pin}, once for all sessions")
        shutil.rmtree(environment, ignore_errors=True)
        session.run_install(sys.executable, "-m", "virtualenv", "--quiet", str(environment), external=True)
        python = str(_python(environment))
        session.run_install(python, "-m", "pip", "install", "-c", str(CONSTRAINTS), "torch", external=True)
        complete.touch()
    return environment


def share_torch(session: nox.Session) -> None:
    """Let the session's environment import torch from the base, and nothing leak in from the caller's shell."""
    base = _site_packages(_torch_base(session))
    own = _site_packages(Path(session.virtualenv.location))
    (own / "shared_torch.pth").write_text(f"{base}\n", encoding="utf-8")
    leaks = [name for name in os.environ if name.startswith("ALEATOR_") and name != "ALEATOR_DATA"]
    session.env.update(dict.fromkeys(["PYTHONPATH", "MYPYPATH", "PYTEST_ADDOPTS", *leaks], None))
    # Torch says so at each import without numpy; a process that a test starts should be as quiet as the test. It is
    # not written as in a test's own -W: Python drops the second of two equal options, and an -W error between them
    # would win.
    session.env.setdefault("PYTHONWARNINGS", "ignore:Failed to initialize Nu")
    session.env.setdefault("OMP_NUM_THREADS", "1")
    session.env.setdefault("MPLBACKEND", "Agg")


def install(session: nox.Session, *requirements: str) -> None:
    """Install under the constraints."""
    session.install("-c", str(CONSTRAINTS), *requirements)


def wheel_of(name: str) -> Path:
    """Return the built wheel of one distribution."""
    (found,) = DIST.glob(f"{name.replace('-', '_')}-[0-9]*.whl")
    return found


def install_wheels(session: nox.Session, names: Iterable[str], *requirements: str) -> None:
    """Install the wheels of the named packages and of all siblings they need, then check that no other is there.

    ``requirements`` come on top (a test runner, say). The wheels are installed anew even where their version is already
    there, since the version does not change from build to build.
    """
    needed = tuple(each for each in PACKAGES if any(each in closure(name, PACKAGES) for name in names))
    wheels = [str(wheel_of(name)) for name in needed]
    share_torch(session)
    install(session, *wheels, *requirements)
    session.install("--no-deps", "--force-reinstall", *wheels)
    session.run("python", str(ROOT / "tools" / "assert_installed.py"), *needed)


def external_requirements() -> list[str]:
    """Return what the packages declare beside each other; torch is among it, and is shared."""
    declared = {requirement for package in PACKAGES.values() for requirement in package.requirements}
    return sorted(requirement for requirement in declared if requirement_name(requirement) not in PACKAGES)


def install_sources(session: nox.Session, *requirements: str) -> None:
    """Install every package from its sources (editable), again only when a ``pyproject.toml`` has changed."""
    digest = hashlib.sha256(CONSTRAINTS.read_bytes() + repr(requirements).encode())
    for package in PACKAGES.values():
        digest.update((package.folder / "pyproject.toml").read_bytes())
    mark = Path(session.virtualenv.location) / "installed-sources"
    if mark.exists() and mark.read_text(encoding="utf-8") == digest.hexdigest():
        return
    install(session, *external_requirements(), *requirements, "hatchling", "editables")
    editables = [option for package in PACKAGES.values() for option in ("-e", str(package.folder))]
    session.install("--no-build-isolation", "--no-deps", *editables)
    mark.write_text(digest.hexdigest(), encoding="utf-8")


def _fingerprint(packages: Iterable[Package]) -> str:
    digest = hashlib.sha256()
    for package in packages:
        written = [path for path in sorted(package.source.rglob("*.py*")) if "__pycache__" not in path.parts]
        for path in (package.folder / "pyproject.toml", package.folder / "README.md", *written):
            digest.update(str(path.relative_to(ROOT)).encode())
            digest.update(path.read_bytes())
    return digest.hexdigest()


def build_wheels(session: nox.Session) -> None:
    """Build every package into ``dist/``, unless what is there was built from the same sources."""
    mark, current = DIST / ".fingerprint", _fingerprint(PACKAGES.values())
    if mark.exists() and mark.read_text(encoding="utf-8") == current:
        session.log("dist/ was built from these sources")
        return
    shutil.rmtree(DIST, ignore_errors=True)
    install(session, "hatchling")
    folders = [str(package.folder) for package in PACKAGES.values()]
    session.run("pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps", "-w", str(DIST), *folders)
    mark.write_text(current, encoding="utf-8")


SEVERAL_WORKERS = ("-n", "2", "--max-worker-restart", "0")
"""For suites of a minute and more; each test runs on one thread."""


def report_name(session_name: str) -> str:
    """Return the file name of a session's test report."""
    return session_name.translate(str.maketrans("()'= ", "-----")).strip("-") + ".xml"


def run_pytest(
    session: nox.Session, paths: Sequence[Path], *options: str, keywords: str = "not slow and not gpu"
) -> None:
    """Run tests against what is installed, from an empty folder, and leave a report for ``summary``."""
    report = REPORTS / report_name(session.name)
    report.unlink(missing_ok=True)
    configuration = ("-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT), "--import-mode=importlib")
    # Oracles that several test files share are modules beside them.
    folders = {path for path in paths if path.is_dir()}
    folders |= {folder for path in paths for folder in path.parents if folder.name == "tests"}
    beside = "pythonpath=" + " ".join(f'"{folder}"' for folder in sorted(folders))
    with tempfile.TemporaryDirectory() as empty, session.chdir(empty):
        session.run(
            "python", "-m", "pytest", *configuration, "-o", beside, "-p", "no:cacheprovider", f"--junitxml={report}",
            "-m", keywords, *options, *map(str, paths), *session.posargs,
        )  # fmt: skip  # one line an argument would hide the command
