"""Rule 8: a module has the name of a concept; and every suppressed warning of a tool carries its reason."""

from __future__ import annotations

import re
import tokenize
from pathlib import Path

from packages import ROOT
from sources import finish, package_files, relative

EMPTY_NAMES = {"util", "utils", "utility", "utilities", "helper", "helpers", "common", "misc", "stuff"}
SUPPRESSION = re.compile(r"#\s*(?P<kind>noqa|type:\s*ignore|fmt:\s*(?:off|skip))(?P<rest>.*)$")
REASON = re.compile(r"#\s*\S.*\w")


def names_of(path: Path) -> set[str]:
    """Return the names that a module's path is made of, without leading underscores."""
    return {part.lstrip("_") for part in path.with_suffix("").parts}


def bare_suppressions(path: Path) -> list[str]:
    """Return a message for each suppression without a reason, or without the code that it suppresses."""
    found = []
    with path.open("rb") as file:
        comments = [token for token in tokenize.tokenize(file.readline) if token.type == tokenize.COMMENT]
    for comment in comments:
        match = SUPPRESSION.search(comment.string)
        if match is None:
            continue
        place, kind, rest = f"{relative(path)}:{comment.start[0]}", match["kind"], match["rest"]
        if not kind.startswith("fmt") and not rest.startswith((":", "[")):
            found.append(f"{place}: {kind} without the code that it suppresses")
        elif not REASON.search(rest):
            found.append(f"{place}: {kind}{rest} without a reason behind it")
    return found


def main() -> None:
    """Print every module without a concept and every suppression without a reason."""
    shipped = list(package_files())
    problems = [
        f"{relative(path)}: a helper lives with its one user, or gets the name of a concept"
        for path in shipped
        if names_of(path.relative_to(ROOT)) & EMPTY_NAMES
    ]
    for path in (*shipped, *sorted((ROOT / "tools").glob("*.py")), ROOT / "noxfile.py"):
        problems += bare_suppressions(path)
    finish(problems, f"{len(shipped)} modules are named after concepts, every suppression has its reason")


if __name__ == "__main__":
    main()
