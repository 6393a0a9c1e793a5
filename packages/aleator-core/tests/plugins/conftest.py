"""Distributions that exist as metadata and a manifest in a temporary folder, as an installer would lay them out."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from aleator.plugins.announcements import Announcements
from aleator.plugins.discovery import discover
from aleator.plugins.official_names import OfficialNames
from aleator.plugins.registry import Registry, refresh
from aleator.plugins.switches import Switches

OFFICIAL = OfficialNames(
    infer={"Star_ELBO": "aleator-star", "StarSVI": "aleator-star", "Moon_ELBO": "aleator-moon"},
    handlers={"halo": "aleator-star"},
    infer_keys={"brightness": "aleator-star"},
)

ESTIMATOR_SOURCE = """
from aleator.infer.estimator import AbstractEstimator
from aleator.plugins import Capabilities

class Found(AbstractEstimator):
    capabilities = Capabilities()
    def estimate(self, model, guide, /, *args, **kwargs):
        raise NotImplementedError
"""


@dataclass
class FakeEnvironment:
    """A folder on the path into which distributions are put."""

    folder: Path
    announcements: Announcements = field(default_factory=Announcements)

    official = OFFICIAL

    @staticmethod
    def manifest(body: str = "", *, estimators: tuple[str, ...] = (), api: object = 1) -> str:
        """Return the source of a manifest that registers estimators, all on one class of the package."""
        lines = [
            "from aleator.plugins import AlgorithmSpec, EstimatorSpec, HandlerSpec, hookimpl",
            f"ALEATOR_PLUGIN_API = {api!r}",
        ]
        if estimators:
            lines += ["@hookimpl", "def aleator_estimators():"]
            for name in estimators:
                target = "__name__.rpartition('.')[0] + '.estimators:Found'"
                lines.append(f"    yield EstimatorSpec(name={name!r}, target={target}, summary='A fake.')")
        return "\n".join([*lines, body])

    def install(
        self, distribution: str, source: str, version: str = "1.0", entry_point: str = "", folder: Path | None = None
    ) -> Path:
        """Put a distribution there; return its metadata folder."""
        place = self.folder if folder is None else folder
        package = distribution.replace("-", "_")
        (place / package).mkdir(parents=True, exist_ok=True)
        (place / package / "__init__.py").touch()
        (place / package / "_plugin.py").write_text(source)
        (place / package / "estimators.py").write_text(ESTIMATOR_SOURCE)
        metadata = place / f"{package}-{version}.dist-info"
        metadata.mkdir()
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        name = entry_point or distribution.removeprefix("aleator-")
        (metadata / "entry_points.txt").write_text(f"[aleator]\n{name} = {package}._plugin\n")
        return metadata

    def registry(self, *, disable: tuple[str, ...] = (), strict: bool = False) -> Registry:
        """Discover what is in the folder."""
        records = discover(OFFICIAL, path=[str(self.folder)])
        return Registry(records, Switches(disable=disable, strict=strict), OFFICIAL, self.announcements)


@pytest.fixture
def environment(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield FakeEnvironment(tmp_path)
    for name in set(sys.modules) - before:
        file = getattr(sys.modules[name], "__file__", None)
        if file is not None and Path(file).is_relative_to(tmp_path):
            del sys.modules[name]


@pytest.fixture
def fresh_discovery(environment, monkeypatch):
    """The process's registry, over what the test puts into the folder beside what is installed."""
    for name in ("ALEATOR_DISABLE_PLUGINS", "ALEATOR_PLUGINS_STRICT"):
        monkeypatch.delenv(name, raising=False)
    refresh()
    yield environment
    monkeypatch.undo()
    refresh()
