"""Total the test reports that the sessions left: ``python tools/summarize_reports.py FOLDER``.

The last line is ``N passed, N failed, N skipped``; a report that is missing or empty of tests counts as a failure.
"""

from __future__ import annotations

import sys
from pathlib import Path
from xml.etree import ElementTree

from packages import load_packages

SESSIONS = ("core_alone", "broken_plugins", "third_party", "integration", "docs")


def expected_reports() -> list[str]:
    """Return the file names of the reports that a whole run leaves."""
    tested = [package.name for package in load_packages().values() if package.tests.exists()]
    return [f"tests-{name}.xml" for name in tested] + [f"{name}.xml" for name in SESSIONS]


def read_report(path: Path) -> tuple[int, int, int]:
    """Return how many tests passed, failed and were skipped."""
    if not path.exists():
        print(f"{path.stem}: no report; the session ended before its tests")
        return 0, 1, 0
    total = failed = skipped = 0
    for suite in ElementTree.parse(path).getroot().iter("testsuite"):
        total += int(suite.get("tests", 0))
        failed += int(suite.get("failures", 0)) + int(suite.get("errors", 0))
        skipped += int(suite.get("skipped", 0))
    passed = max(total - failed - skipped, 0)
    print(f"{path.stem}: {passed} passed, {failed} failed, {skipped} skipped")
    return (passed, failed, skipped) if total else (0, 1, 0)


def main() -> None:
    """Print a line per session and the total; exit with 1 where something failed."""
    counts = [read_report(Path(sys.argv[1]) / name) for name in expected_reports()]
    passed, failed, skipped = (sum(column) for column in zip(*counts, strict=True))
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
