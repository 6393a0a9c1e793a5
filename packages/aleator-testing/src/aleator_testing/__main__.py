"""``python -m aleator_testing acme/VRMax``: check an estimator, or ``--plugin`` a distribution, and print the table."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from aleator_testing.plugin_checks import check_plugin
from aleator_testing.registered import registrations
from aleator_testing.running import check_estimator

__all__ = ["main"]


def main(arguments: Sequence[str] | None = None) -> int:
    """Print the reports; 0 where nothing has to be done, 1 where something has, 2 for an unknown name."""
    parser = argparse.ArgumentParser(prog="python -m aleator_testing", description=__doc__)
    parser.add_argument("names", nargs="*", help="registered names of estimators, or distributions with --plugin")
    parser.add_argument("--plugin", action="store_true", help="the names are distributions: check what they register")
    parser.add_argument("--all", action="store_true", help="check every installed estimator")
    parser.add_argument(
        "--level", choices=("fast", "full"), default="fast", help="full adds the long statistical checks"
    )
    options = parser.parse_args(arguments)
    # The front door "ELBO" gives Trace_ELBO, which has a name of its own.
    installed = [found.name for found in registrations() if found.name != "ELBO"] if options.all else []
    if not options.names and not installed:
        parser.error("name an estimator, a distribution with --plugin, or --all")
    ok = True
    for name in [*options.names, *installed]:
        try:
            report = check_plugin(name) if options.plugin else check_estimator(name, level=options.level)
        except (LookupError, ImportError) as error:
            print(error, file=sys.stderr)
            return 2
        print(report)
        ok = ok and report.ok
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
