"""Begin a package: its metadata, README, sources and tests.

    python tools/new_package.py aleator-renyi "Renyi bounds for Aleator" aleator-core aleator-svi-elbo

Writes ``packages/<name>/`` with metadata, README, source and test folders. Its sessions, wheels and checks follow
from the metadata; the meta-distribution and the tables that are generated have to learn of it by their own tools.
"""

from __future__ import annotations

import re
import sys

from packages import ROOT, load_packages

METADATA = """[build-system]
requires = ["hatchling"]
build-backend = "hatchling.build"

[project]
name = "{name}"
version = "{version}"
description = "{summary}"
readme = "README.md"
requires-python = ">=3.11"
license = "Apache-2.0"
keywords = ["probabilistic programming", "bayesian", "pytorch"]
classifiers = [
    "Development Status :: 3 - Alpha",
    "Intended Audience :: Science/Research",
    "Programming Language :: Python :: 3 :: Only",
    "Topic :: Scientific/Engineering",
    "Typing :: Typed",
]
dependencies = [{dependencies}]

[project.entry-points.aleator]
{point} = "{package}._plugin"

[tool.hatch.build.targets.wheel]
packages = ["src/{package}"]
"""

PLUGIN = '''"""What {name} registers with Aleator."""

from __future__ import annotations

from aleator.plugins import EstimatorSpec, hookimpl

ALEATOR_PLUGIN_API = 1


@hookimpl
def aleator_estimators() -> tuple[EstimatorSpec, ...]:
    """Name the estimators of this distribution."""
    return ()
'''


def main(name: str, summary: str, *siblings: str) -> None:
    """Write the folder of a new package.

    Raises:
        SystemExit: where the name is no ``aleator-word-word``, is taken, or a sibling is unknown.
    """
    packages = load_packages()
    unknown = [each for each in siblings if each not in packages]
    if not re.fullmatch(r"aleator(-[a-z][a-z0-9]*)+", name) or name in packages or unknown:
        sys.exit(f"a new name is aleator-word-word and its siblings exist; found {name!r}, unknown siblings {unknown}")
    version = packages["aleator-core"].version
    package = name.replace("-", "_")
    pins = ", ".join(f'"{each}~={version}"' for each in siblings)
    fields = {"name": name, "version": version, "summary": summary, "package": package, "dependencies": pins}
    folder = ROOT / "packages" / name
    files = {
        "pyproject.toml": METADATA.format(**fields, point=name.removeprefix("aleator-")),
        "README.md": f"# {name}\n\n{summary}.\n",
        f"src/{package}/__init__.py": f'"""{summary}."""\n',
        f"src/{package}/_plugin.py": PLUGIN.format(name=name),
        f"src/{package}/py.typed": "",
    }
    for path, text in files.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    (folder / "tests").mkdir()
    print(f"packages/{name} begins; write its tests in packages/{name}/tests")


if __name__ == "__main__":
    main(*sys.argv[1:])
