"""The sessions: ``nox`` alone runs every test, ``nox -s quickstart`` the first example, ``nox --list`` shows the rest.

The packages and what they need come from their metadata (``tools/packages.py``), environments from
``tools/environments.py``; a new package needs no line here.
"""

from __future__ import annotations

import os
import shutil
import sys
from pathlib import Path

import nox
from nox.command import CommandFailed

if sys.version_info < (3, 11):  # noqa: UP036  # nox may run on an older Python than the packages need
    raise SystemExit(f"Aleator needs Python 3.11 or newer; this nox runs on {sys.version.split()[0]}")

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "tools"))

import environments as env  # noqa: E402  # tools/ is no package: it is put on the path above
from packages import read_package  # noqa: E402  # as above

nox.needs_version = ">=2025.2.9"  # the first with `requires`
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_venv = "yes"
nox.options.sessions = [
    "lint",
    "types",
    "wheels",
    "tests",
    "core_alone",
    "broken_plugins",
    "third_party",
    "integration",
    "conformance",
    "docs",
    "quickstart",
    "hmm",
    "summary",
]

INTEGRATION = ROOT / "integration_tests"
EXAMPLE = INTEGRATION / "third_party" / "aleator-example-elbo"
# The rest of INTEGRATION runs in `integration`.
OWN_SESSION = {"core_alone", "typing", "third_party", "broken_plugins", "conformance"}
EVERY_PACKAGE = nox.parametrize("package", [nox.param(name, id=name) for name in env.PACKAGES])
TEST_TOOLS = ("pytest", "pytest-xdist", "hypothesis")
# Compiling takes both cores by itself, so that its tests stay in one process.
IN_ONE_PROCESS = {"aleator-jit-estimators"}
LINT_TOOLS = ("ruff", "import-linter", "pytest")


def lint_everything(session: nox.Session) -> None:
    """Run ruff, the import contracts, every check and every generator's comparison, then say what failed."""
    tools = ROOT / "tools"
    session.env["PYTHONPATH"] = os.pathsep.join(map(str, [tools, *(each.source for each in env.PACKAGES.values())]))
    commands = [["ruff", "check", "."], ["ruff", "format", "--check", "."], ["lint-imports", "--no-cache"]]
    commands += [["python", "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tools / "tests")]]
    commands += [["python", str(check)] for check in sorted(tools.glob("check_*.py"))]
    commands += [["python", str(generator), "--check"] for generator in sorted(tools.glob("generate_*.py"))]
    failed = []
    for command in commands:
        try:
            session.run(*command)
        except CommandFailed:
            failed.append(" ".join(command))
    if failed:
        session.error(f"{len(failed)} of {len(commands)} checks failed: {'; '.join(failed)}")


def folders_between_packages() -> list[Path]:
    """Folders of tests of what holds between packages."""
    return [folder for folder in sorted(INTEGRATION.iterdir()) if folder.is_dir() and any(folder.rglob("test_*.py"))]


def folders_of_tests() -> list[Path]:
    """Folders of all tests, those of the external plugin excepted: they need its wheel."""
    own = [package.tests for package in env.PACKAGES.values() if package.tests.exists()]
    return [*own, *(folder for folder in folders_between_packages() if folder.name != "third_party")]


@nox.session
def lint(session: nox.Session) -> None:
    """Style, import directions, sizes, versions, rules of the house, generated files current."""
    env.share_torch(session)
    env.install(session, *LINT_TOOLS, *env.external_requirements())
    lint_everything(session)


@nox.session(requires=["wheels"])
@nox.parametrize("scope", [nox.param(name, id=name) for name in ("sources", "programs", "programs_core_only")])
def types(session: nox.Session, scope: str) -> None:
    """Strict mypy on the sources, and on users' programs with and without the plugins installed."""
    core_only = scope == "programs_core_only"
    extra = ["pytest"] if scope == "sources" else []  # what an extra of aleator-testing brings, and its sources name
    env.install_wheels(session, ["aleator-core"] if core_only else env.PACKAGES, "mypy", *extra)
    folders = [INTEGRATION / "typing" / ("core_only" if core_only else "with_plugins")]
    if scope == "sources":
        folders = [package.source for package in env.PACKAGES.values() if package.import_name]
        session.env["MYPYPATH"] = os.pathsep.join(map(str, folders))
    cache = ROOT / ".mypy_cache" / scope
    session.run("mypy", "--config-file", str(ROOT / "pyproject.toml"), f"--cache-dir={cache}", *map(str, folders))


@nox.session
def wheels(session: nox.Session) -> None:
    """Build each package once into dist/ and check what is in it; later sessions install these."""
    shutil.rmtree(env.REPORTS, ignore_errors=True)
    env.build_wheels(session)
    session.run("python", str(ROOT / "tools" / "inspect_wheels.py"), str(env.DIST))


@nox.session(requires=["wheels"])
@EVERY_PACKAGE
def tests(session: nox.Session, package: str) -> None:
    """Each package's tests on its wheel, in an environment that holds only what it declares."""
    env.install_wheels(session, [package], *TEST_TOOLS)
    if env.PACKAGES[package].tests.exists():
        workers = () if package in IN_ONE_PROCESS else env.SEVERAL_WORKERS
        env.run_pytest(session, [env.PACKAGES[package].tests], *workers)


@nox.session(requires=["wheels"])
def core_alone(session: nox.Session) -> None:
    """The core without any plugin: its messages, its import, its silence, an estimator written by hand."""
    env.install_wheels(session, ["aleator-core"], "pytest")
    env.run_pytest(session, [INTEGRATION / "core_alone"], "-rP")


@nox.session(requires=["wheels"], reuse_venv=False)  # as third_party
def broken_plugins(session: nox.Session) -> None:
    """Really installed broken distributions beside healthy official ones."""
    env.install_wheels(session, env.PACKAGES, "pytest", "hatchling")
    env.run_pytest(session, [INTEGRATION / "broken_plugins"])


@nox.session(requires=["wheels"], reuse_venv=False)  # what it installs beside our wheels must not be there before
def third_party(session: nox.Session) -> None:
    """A complete external plugin: built, installed beside the wheels it needs, tested."""
    example = read_package(EXAMPLE / "pyproject.toml", env.PACKAGES)
    env.install_wheels(session, [*example.siblings, "aleator-testing"], "pytest", "hatchling")
    with session.chdir(session.create_tmp()):
        session.run("pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps", "-w", ".", str(EXAMPLE))
        (wheel,) = Path.cwd().glob("aleator_example_elbo-*.whl")
        env.install(session, "--force-reinstall", "--no-deps", str(wheel))
    env.run_pytest(session, [EXAMPLE / "tests"])


@nox.session(requires=["wheels"])
def integration(session: nox.Session) -> None:
    """What holds between packages, and the contract's own programs, on wheels."""
    env.install_wheels(session, env.PACKAGES, *TEST_TOOLS)
    env.run_pytest(session, [folder for folder in folders_between_packages() if folder.name not in OWN_SESSION])


@nox.session(requires=["wheels"])
def conformance(session: nox.Session) -> None:
    """The kit, level fast, over every installed estimator, and over its own broken twins."""
    env.install_wheels(session, env.PACKAGES, "pytest", "pytest-xdist")
    env.run_pytest(session, [INTEGRATION / "conformance"], *env.SEVERAL_WORKERS)


@nox.session(default=False, requires=["wheels"])
def conformance_full(session: nox.Session) -> None:
    """The kit, level full, over every installed estimator; then every check on every broken twin."""
    env.install_wheels(session, env.PACKAGES, "pytest")
    session.run("python", "-m", "aleator_testing", "--level", "full", "--all", *session.posargs)
    session.run("python", "-m", "aleator_testing.matrix")


@nox.session(default=False, requires=["wheels"])
def conformance_compiled(session: nox.Session) -> None:
    """The kit, level fast, over every estimator that compiles, each program a package of its own: half an hour."""
    env.install_wheels(session, env.PACKAGES, "pytest")
    session.env["ALEATOR_COMPILE_BACKEND"] = "aot"
    env.run_pytest(session, [INTEGRATION / "conformance"], "-k", "Jit or Compiled")


@nox.session(default=False, requires=["wheels"])
def gradients(session: nox.Session) -> None:
    """The gradients of the ELBO estimators against exact enumeration, at many draws: the page docs/gradients.md."""
    env.install_wheels(session, env.PACKAGES)
    session.run("python", str(ROOT / "tools" / "gradient_table.py"), *session.posargs)


@nox.session(requires=["wheels"])
def docs(session: nox.Session) -> None:
    """Every example in a docstring, and every Python block of a README or a page of docs/."""
    env.install_wheels(session, env.PACKAGES, "pytest", "matplotlib")
    session.env["PYTHONPATH"] = str(ROOT / "tools")
    modules = [package.import_name for package in env.PACKAGES.values() if package.import_name]
    pages = [ROOT / "README.md", *sorted(ROOT.glob("packages/*/README.md")), *sorted(ROOT.glob("docs/**/*.md"))]
    env.run_pytest(session, pages, "-p", "markdown_blocks", "--doctest-modules", "--pyargs", *modules)


@nox.session(requires=["wheels"])
def quickstart(session: nox.Session) -> None:
    """The first example: weighing, then eight schools; prints posteriors and saves a picture."""
    env.install_wheels(session, env.PACKAGES, "matplotlib")
    session.run("python", str(ROOT / "docs" / "examples" / "quickstart.py"), *session.posargs)


@nox.session(requires=["wheels"])
def hmm(session: nox.Session) -> None:
    """The example of hidden Markov models, a few epochs on what it makes itself; by hand, ``-- FOLDER --epochs 20``."""
    env.install_wheels(session, env.PACKAGES, "matplotlib")
    few = ["--epochs", "3", "--songs", "8", session.create_tmp()]
    without_data = {"ALEATOR_DATA": ""} if not session.posargs else {}
    example = str(ROOT / "docs" / "examples" / "hmm.py")
    session.run("python", example, *(session.posargs or few), env=without_data)


@nox.session(venv_backend="none")
def summary(session: nox.Session) -> None:
    """Totals over the test reports of this run."""
    session.run(sys.executable, str(ROOT / "tools" / "summarize_reports.py"), str(env.REPORTS))


@nox.session(default=False)
def quick(session: nox.Session) -> None:
    """Lint and the fast tests of what changed, from the sources: under a minute when warm."""
    env.share_torch(session)
    env.install_sources(session, *LINT_TOOLS, *TEST_TOOLS)
    changed = session.run("python", str(ROOT / "tools" / "changed_tests.py"), silent=True) or ""
    paths = [Path(line) for line in str(changed).splitlines()]
    if paths:
        env.run_pytest(session, paths, "-x", "-q")
    lint_everything(session)


@nox.session(default=False)
def bench_peers(session: nox.Session) -> None:
    """The environment of what `bench` compares with."""
    env.share_torch(session)
    env.install(session, "pyro-ppl", "numpy")


@nox.session(default=False, requires=["wheels", "bench_peers"])
def bench(session: nox.Session) -> None:
    """Aleator and Pyro side by side: medians of a step and of a traced site."""
    env.install_wheels(session, env.PACKAGES)
    peers = env.python_of(session, "bench_peers")
    session.run("python", str(ROOT / "tools" / "bench" / "run.py"), "--peers-python", str(peers), *session.posargs)


@nox.session(default=False, requires=["wheels"])
def slow(session: nox.Session) -> None:
    """The tests that take longer than a few seconds (marker `slow`); `conformance_full` runs those of the kit."""
    env.install_wheels(session, env.PACKAGES, *TEST_TOOLS)
    folders = [folder for folder in folders_of_tests() if folder.name != "conformance"]
    env.run_pytest(session, folders, keywords="slow and not gpu")


@nox.session(default=False, requires=["wheels"])
def soak(session: nox.Session) -> None:
    """Memory over 10,000 steps."""
    env.install_wheels(session, env.PACKAGES)
    session.run("python", str(ROOT / "tools" / "bench" / "soak.py"), *session.posargs)


@nox.session(default=False, requires=["wheels"])
def gpu(session: nox.Session) -> None:
    """The tests that need an accelerator (marker `gpu`)."""
    env.install_wheels(session, env.PACKAGES, *TEST_TOOLS)
    env.run_pytest(session, folders_of_tests(), keywords="gpu")
