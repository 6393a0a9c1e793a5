"""Check that the Aleator distributions installed beside this interpreter are exactly the named ones.

Run inside a session's environment: ``python tools/assert_installed.py aleator-core ...``. It also checks that their
code is imported from the environment and not from a checkout.
"""

from __future__ import annotations

import importlib.util
import sys
import sysconfig
from importlib.metadata import distribution, distributions
from pathlib import Path


def main(expected: list[str]) -> None:
    """Exit with a message where another distribution is installed, or a named one is not."""
    names = {str(each.metadata["Name"]).lower().replace("_", "-") for each in distributions()}
    found = sorted(name for name in names if name.split("-")[0] == "aleator")
    if found != sorted(expected):
        sys.exit(f"this environment should hold {sorted(expected)}, and holds {found}")
    purelib = Path(sysconfig.get_path("purelib")).resolve()
    for name in expected:
        code = [file for file in distribution(name).files or () if file.suffix == ".py"]
        for top in sorted({file.parts[0] for file in code if len(file.parts) > 1}):
            spec = importlib.util.find_spec(top)
            if spec is None or spec.origin is None or not Path(spec.origin).resolve().is_relative_to(purelib):
                sys.exit(f"{top} of {name} is imported from {spec and spec.origin}, not from {purelib}")
    print("holds exactly", ", ".join(sorted(expected)))


if __name__ == "__main__":
    main(sys.argv[1:])
