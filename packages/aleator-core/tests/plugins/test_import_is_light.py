"""What importing loads; in one fresh process, since this one has loaded everything."""

from __future__ import annotations

import json
import subprocess
import sys

SCRIPT = """
import json, sys
steps = {}
def note(name):
    steps[name] = sorted(m for m in sys.modules if m == "pluggy" or m.split(".")[0].startswith("aleator_"))
import aleator, aleator.infer, aleator.handlers, aleator.plugins
from aleator.infer import AbstractEstimator, Capabilities, is_available
from aleator.plugins import EstimatorSpec
hasattr(aleator.infer, "no_such_name")
note("imported")
before = set(sys.modules)
from aleator.plugins import hookimpl
note("manifest")
steps["with hookimpl"] = sorted(m for m in set(sys.modules) - before if m.startswith("aleator"))
print(json.dumps(steps))
"""


def test_neither_pluggy_nor_a_plugin_is_loaded_before_it_is_needed():
    result = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True, check=True)
    steps = json.loads(result.stdout)
    assert steps["imported"] == []
    assert steps["manifest"] == ["pluggy"]
    assert steps["with hookimpl"] == ["aleator.plugins.hookspecs"]
