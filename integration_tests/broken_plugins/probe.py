"""Runs in a process of its own, beside the installed distributions: what a user reads for each broken one.

Each case is looked at alone, the other broken distributions being disabled; prints JSON, case -> what was seen.
"""

from __future__ import annotations

import json
import os
import sys
import warnings

from aleator import infer
from aleator.plugins import refresh

HEALTHY = "healthy/VRMax"


def seen(name: str) -> dict:
    """Use a name; return warnings, and the error or the class."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            result = infer.get_estimator(name) if "/" in name else getattr(infer, name)
            outcome = {"found": result.__qualname__}
        except Exception as error:  # noqa: BLE001  # whatever comes is what is asked for
            outcome = {"error": type(error).__name__, "text": str(error)}
    return {"warnings": [f"{each.category.__name__}: {each.message}" for each in caught], **outcome}


def look_at(distributions: list[str], used: str, broken: list[str]) -> dict:
    """Look at one case: a healthy name, the name that the case is about, and both under strict mode."""
    os.environ["ALEATOR_DISABLE_PLUGINS"] = ",".join(name for name in broken if name not in distributions)
    os.environ["ALEATOR_PLUGINS_STRICT"] = "0"
    refresh()
    report = {"healthy": seen(HEALTHY), "used": seen(used)}
    refresh()
    report["again"] = seen(HEALTHY)
    os.environ["ALEATOR_PLUGINS_STRICT"] = "1"
    refresh()
    # A name that works by itself shows what strict mode says of the rest only once all plugins are looked at.
    report["strict"] = seen(used if "error" in report["used"] else HEALTHY)
    return report


def main() -> None:
    """Read the cases from standard input; print what was seen."""
    cases = json.load(sys.stdin)
    broken = [name for case in cases.values() for name in case["distributions"]]
    report = {}
    # First with everything on: an official name and the core must not touch the broken third parties at all.
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        report["official"] = infer.Importance.__module__
        report["imported"] = sorted(name for name in sys.modules if name.startswith("broken_"))
    report["cases"] = {name: look_at(case["distributions"], case["use"], broken) for name, case in cases.items()}
    print(json.dumps(report))


if __name__ == "__main__":
    main()
