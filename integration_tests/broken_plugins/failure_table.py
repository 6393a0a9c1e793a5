"""The failure table: each way in which a plugin can be broken, and what its user reads.

``python integration_tests/broken_plugins/failure_table.py`` writes ``docs/plugin-failures.md`` from real
installations; the test beside it compares.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import projects

HERE = Path(__file__).resolve().parent
PAGE = HERE.parent.parent / "docs" / "plugin-failures.md"


@dataclass(frozen=True)
class Case:
    """One row.

    Attributes:
        what: what goes wrong, in words.
        distributions: the broken distributions at work.
        use: the name that is asked for.
    """

    what: str
    distributions: tuple[str, ...]
    use: str = "healthy/VRMax"


CASES = {
    "import_error": Case("its import raises", ("broken-import-error",)),
    "system_exit": Case("its import ends the process (`SystemExit`)", ("broken-system-exit",)),
    "metadata": Case("its entry point is malformed", ("broken-metadata",)),
    "nameless": Case("its metadata has no name", ("broken-nameless",)),
    "wrong_api": Case("it was built for another plugin API", ("broken-wrong-api",)),
    "bad_signature": Case("a hook has arguments", ("broken-bad-signature",), "signature/Half"),
    "unknown_hook": Case("a hook does not exist", ("broken-unknown-hook",), "unknown/Half"),
    "hook_raises": Case("a hook raises", ("broken-hook-raises",)),
    "bad_target": Case("a target does not import", ("broken-bad-target",), "target/Missing"),
    "not_an_estimator": Case("a target is no estimator", ("broken-not-an-estimator",), "contract/Wrong"),
    "duplicate_name": Case(
        "two third parties register one name", ("broken-duplicate-a", "broken-duplicate-b"), "shared/VRMax"
    ),
    "official_name": Case("a third party claims an official name", ("broken-official-name",), "Importance"),
    "official": Case("an official plugin is installed and broken", ("aleator-renyi",), "RenyiELBO"),
}

INTRODUCTION = """\
# When a plugin is broken

A broken plugin costs its own names and nothing else: `import aleator` and every other plugin work on. It is named in
one `PluginWarning` a process, or in the error of whoever asks for its name. `ALEATOR_DISABLE_PLUGINS="a,b"` (or `"*"`)
leaves plugins out, `ALEATOR_PLUGINS_STRICT=1` turns every row into an exception, and `python -m aleator.plugins -v`
lists what is installed, what each plugin registers, and each failure with its traceback.

`KeyboardInterrupt` always passes; the plugin is loaded at the next use. One damage comes before any of this: a line
without an equals sign in some distribution's `entry_points.txt` makes Python's `importlib.metadata.entry_points` raise
(on 3.11 at least), and `import torch` calls it.

The messages are those of really built and installed distributions, each of version 1.2; the tests in
`integration_tests/broken_plugins` compare this page with what they read.
"""


def environment(folder: Path, **variables: str) -> dict[str, str]:
    """Return the environment of a process that sees what is installed in a folder, before all else."""
    path = os.pathsep.join(filter(None, (str(folder), os.environ.get("PYTHONPATH"))))
    kept = {name: value for name, value in os.environ.items() if not name.startswith("ALEATOR_")}
    return {**kept, "PYTHONPATH": path, **variables}


def run_probe(folder: Path) -> dict[str, Any]:
    """Look at every case in one process; return the probe's report."""
    cases = {name: {"distributions": case.distributions, "use": case.use} for name, case in CASES.items()}
    result = subprocess.run(
        [sys.executable, str(HERE / "probe.py")],
        input=json.dumps(cases),
        env=environment(folder),
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if result.returncode:
        raise RuntimeError(result.stderr)
    report: dict[str, Any] = json.loads(result.stdout)
    return report


def what_a_user_reads(seen: Mapping[str, Any]) -> str:
    """Return the error of the name that the case is about, or else the warning at the first use of any plugin."""
    if seen["used"].get("error") in ("PluginLoadError", "AmbiguousPluginError"):
        return f"{seen['used']['error']}: {seen['used']['text']}"
    return " ".join(seen["healthy"]["warnings"])


def page(report: Mapping[str, Any]) -> str:
    """Return the text of the page."""
    lines = [INTRODUCTION]
    for name, case in CASES.items():
        seen = report["cases"][name]
        lines += [f"## {case.what[0].upper()}{case.what[1:]}", "", "```text", what_a_user_reads(seen), "```", ""]
        lines += [f"Under `ALEATOR_PLUGINS_STRICT=1` it raises `{seen['strict']['error']}`.", ""]
    return "\n".join(lines).rstrip() + "\n"


def main() -> None:
    """Install, look, and write the page."""
    with tempfile.TemporaryDirectory() as folder:
        broken, _ = projects.install_all(Path(folder))
        PAGE.write_text(page(run_probe(broken)), encoding="utf-8")


if __name__ == "__main__":
    main()
