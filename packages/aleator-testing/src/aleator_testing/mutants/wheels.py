"""Broken distributions, as wheels: what goes wrong at registration and import is seen in an installed package only."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

__all__ = ["WHEELS", "Wheel", "failing_checks"]

MANIFEST = """
from aleator.plugins import EstimatorSpec, hookimpl

ALEATOR_PLUGIN_API = 1


@hookimpl
def aleator_estimators():
    return [EstimatorSpec(name={name!r}, target="{package}.bound:Bound", summary={summary!r})]
"""

BOUND = """
from typing import final

from aleator_testing.reference import MeanBound


@final
class Bound(MeanBound):
    pass
"""


@final
@dataclass(frozen=True)
class Wheel:
    """A wheel with one thing broken.

    Attributes:
        name: what is broken, in words.
        package: the import name; the distribution's has hyphens.
        estimator: the registered name.
        changes: text put before the text of a module, by module.
        fails: the ids of the checks that must find it.
        summary: what the plugin says of its estimator.
    """

    name: str
    package: str
    estimator: str
    changes: Mapping[str, str]
    fails: frozenset[str]
    summary: str = "a bound"

    @property
    def distribution(self) -> str:
        """The name in the metadata."""
        return self.package.replace("_", "-")

    def files(self) -> dict[str, str]:
        """Return what is in the wheel, by path."""
        modules = {
            "__init__": "",
            "_plugin": MANIFEST.format(name=self.estimator, package=self.package, summary=self.summary),
            "bound": BOUND,
        }
        info = f"{self.package}-1.0.dist-info"
        return {
            **{f"{self.package}/{name}.py": self.changes.get(name, "") + text for name, text in modules.items()},
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {self.distribution}\nVersion: 1.0\n",
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: kit\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/entry_points.txt": f"[aleator]\n{self.package} = {self.package}._plugin\n",
            f"{info}/RECORD": "",
        }

    def write(self, folder: Path) -> Path:
        """Write the wheel, and return its path."""
        path = folder / f"{self.package}-1.0-py3-none-any.whl"
        with zipfile.ZipFile(path, "w") as archive:
            for name, text in self.files().items():
                archive.writestr(name, text)
        return path

    def install(self, folder: Path) -> Path:
        """Unpack the wheel into a folder for ``sys.path``, as an installer does with a pure one."""
        place = folder / "site-packages"
        with zipfile.ZipFile(self.write(folder)) as archive:
            archive.extractall(place)
        return place


WHEELS: tuple[Wheel, ...] = (
    Wheel("nothing is broken", "acme_sound", "acme/Sound", {}, frozenset()),
    Wheel(
        "a manifest that raises",
        "acme_unhooked",
        "acme/Unhooked",
        {"_plugin": "raise RuntimeError('no licence')\n"},
        frozenset({"spec_registered"}),
    ),
    Wheel(
        "a target that does not import",
        "acme_dangling",
        "acme/Dangling",
        {"bound": "import no_such_module_anywhere\n"},
        frozenset({"names_resolve"}),
    ),
    Wheel("a name without a vendor", "acme_nameless", "Nameless", {}, frozenset({"spec_registered"})),
    Wheel("a name without a summary", "acme_silent", "acme/Silent", {}, frozenset({"spec_registered"}), summary=" "),
    Wheel(
        "a manifest that imports its estimator",
        "acme_heavy",
        "acme/Heavy",
        {"_plugin": "import acme_heavy.bound\n"},
        frozenset({"manifest_is_light"}),
    ),
    Wheel(
        "side effects at import",
        "acme_meddling",
        "acme/Meddling",
        {"bound": "import logging, torch\nlogging.basicConfig()\ntorch.manual_seed(0)\n"},  # what is wrong with it
        frozenset({"no_import_side_effects"}),
    ),
    Wheel(
        "torch patched at import",
        "acme_patching",
        "acme/Patching",
        {"bound": "import torch\ntorch.Tensor.sum = lambda self, *a, **k: torch.sum(self, *a, **k)\n"},
        frozenset({"no_import_side_effects"}),
    ),
    Wheel(
        "a kernel registered with torch at import",
        "acme_registering",
        "acme/Registering",
        {
            "bound": "import torch.distributions as d\n"
            "@d.register_kl(d.Normal, d.Cauchy)\ndef _kl(p, q):\n    return p.loc\n"
        },
        frozenset({"no_import_side_effects"}),
    ),
)


def failing_checks(wheel: Wheel, folder: Path) -> frozenset[str]:
    """Install a wheel into a folder, check it from a fresh process, and return the ids of the checks that fail.

    Raises:
        RuntimeError: the process gave no report.
    """
    command = [sys.executable, "-m", "aleator_testing", "--plugin", wheel.distribution]
    path = os.pathsep.join([str(wheel.install(folder)), *sys.path])
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment, check=False)
    if "level fast" not in done.stdout:
        raise RuntimeError(f"checking {wheel.distribution} gave no report: {done.stderr[-600:]}")
    return frozenset(re.findall(r"^ +(\w+) +failed", done.stdout, re.MULTILINE))
