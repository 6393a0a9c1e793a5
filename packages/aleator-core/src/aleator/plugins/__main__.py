"""``python -m aleator.plugins [-v]``: which plugins are installed, what each registers, what failed and why."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from dataclasses import replace

from aleator.plugins._official import OFFICIAL
from aleator.plugins.discovery import discover
from aleator.plugins.overview import overview
from aleator.plugins.registry import Registry
from aleator.plugins.switches import STRICT, Switches


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the table; return 1 where something failed and ``ALEATOR_PLUGINS_STRICT`` is set, else 0."""
    parser = argparse.ArgumentParser(
        prog="python -m aleator.plugins",
        description="List the installed plugins of Aleator, what each registers, and what failed.",
        epilog=f"Exits with 1 where something failed and {STRICT} is set, with 0 otherwise.",
    )
    parser.add_argument("-v", "--verbose", action="store_true", help="import every target, and show tracebacks")
    verbose = parser.parse_args(arguments).verbose
    switches = Switches.read()
    registry = Registry(discover(OFFICIAL), replace(switches, strict=False), OFFICIAL)
    registry.load_quietly()
    text, failures = overview(registry, verbose=verbose)
    print(text)
    return 1 if failures and switches.strict else 0


if __name__ == "__main__":
    sys.exit(main())
