"""Every rule of the house has something that holds it, and that something exists.

``docs/design/rules.md`` has one row a rule: its number, the rule, what holds it. Holders stand in backquotes: a
check or a generator in ``tools/`` (``lint`` runs them all), a test as ``path::name``, a contract of import-linter
as ``contract: NAME``, or a lint rule as ``ruff: CODE``.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from typing import Any

from packages import ROOT
from sources import definitions, finish, parse

RULES = 10
ROW = re.compile(r"^\|\s*(?P<number>\d+)\s*\|(?P<rule>.*)\|(?P<holders>.*)\|\s*$", re.MULTILINE)


def _lacks_test(path: str, name: str) -> bool:
    file = ROOT / path
    return not file.is_file() or name not in {qualified for qualified, _ in definitions(parse(file))}


def problem(holder: str, settings: Mapping[str, Any]) -> str | None:
    """Return why a holder holds nothing, or ``None``."""
    kind, _, rest = holder.partition(": ")
    if kind == "contract":
        names = {contract["name"] for contract in settings["importlinter"]["contracts"]}
        return None if rest in names else f"import-linter has no contract {rest!r}"
    if kind == "ruff":
        selected = settings["ruff"]["lint"]["select"]
        return None if any(rest.startswith(prefix) for prefix in selected) else f"ruff does not select {rest}"
    if "::" in holder:
        path, _, name = holder.partition("::")
        return f"there is no test {holder}" if _lacks_test(path, name.replace("::", ".")) else None
    if not re.fullmatch(r"tools/(check|generate)_\w+\.py", holder):
        return f"{holder!r} is neither a check, a test, a contract nor a lint rule"
    return None if (ROOT / holder).is_file() else f"there is no {holder}"


def main() -> None:
    """Print every rule without a holder and every holder that does not exist."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]
    rows = list(ROW.finditer((ROOT / "docs" / "design" / "rules.md").read_text(encoding="utf-8")))
    numbers = [int(row["number"]) for row in rows]
    problems = [] if numbers == list(range(1, RULES + 1)) else [f"rules 1 to {RULES} have a row each, found {numbers}"]
    count = 0
    for row in rows:
        holders = re.findall(r"`([^`]+)`", row["holders"])
        count += len(holders)
        if not holders:
            problems.append(f"rule {row['number']} has nothing that holds it")
        problems += [f"rule {row['number']}: {found}" for each in holders if (found := problem(each, settings))]
    finish(
        [f"docs/design/rules.md: {each}" for each in problems],
        f"{len(rows)} rules are held by {count} checks and tests",
    )


if __name__ == "__main__":
    main()
