"""What ``import aleator`` loads and costs where no plugin is installed."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata

BUDGET = 0.1  # seconds on top of `import torch`
RUNS = 5

MEASURE = """
import json, sys, time
import torch
before = set(sys.modules)
start = time.perf_counter()
import aleator
elapsed = time.perf_counter() - start
print(json.dumps({"elapsed": elapsed, "loaded": sorted(set(sys.modules) - before)}))
"""


def measure() -> dict:
    result = subprocess.run([sys.executable, "-c", MEASURE], capture_output=True, text=True, check=True)
    return json.loads(result.stdout)


def test_no_plugin_is_installed():
    names = sorted({each.metadata["Name"] for each in metadata.distributions()})
    assert [name for name in names if name.startswith("aleator")] == ["aleator-core"]
    assert not list(metadata.entry_points(group="aleator"))


def test_the_import_loads_neither_pluggy_nor_a_plugin_and_is_cheap():
    runs = [measure() for _ in range(RUNS)]
    loaded = set(runs[0]["loaded"])
    assert "aleator" in loaded
    foreign = {name for name in loaded if name.split(".")[0] == "pluggy" or name.startswith("aleator_")}
    assert not foreign
    # Discovery reads the metadata of everything installed; it has to wait for the first name that needs it.
    assert not {"importlib.metadata", "tqdm", "torch._dynamo", "torch._inductor"} & loaded
    least = min(run["elapsed"] for run in runs)
    print(
        f"import aleator: {1000 * least:.0f} ms on top of import torch (least of {RUNS}), budget {1000 * BUDGET:.0f} ms"
    )
    assert least <= BUDGET
