"""List, for every numbered behaviour of ``docs/design/semantics.md``, the tests that hold it.

A test says ``SEMANTICS 66`` (or ``SEMANTICS 66, 73``) in its docstring, or its file does in a comment above it. What
follows the marker on the page is rewritten; ``--check`` fails where it is stale, or where a behaviour has no test.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict

from packages import ROOT

PAGE = ROOT / "docs" / "design" / "semantics.md"
MARKER = "<!-- tests: written by tools/generate_semantics.py -->\n"
MENTION = re.compile(r"SEMANTICS\s+(?P<numbers>\d+(?:\s*(?:,|and|to|-)\s*\d+)*)")
BEHAVIOUR = re.compile(r"^(?P<number>\d+)\. ", re.MULTILINE)


def mentioned(text: str) -> set[int]:
    """Return the numbers that a text names; ``66 to 69`` names four."""
    found: set[int] = set()
    for match in MENTION.finditer(text):
        for part in re.split(r"\s*(?:,|and)\s*", match["numbers"]):
            ends = [int(number) for number in re.findall(r"\d+", part)]
            found.update(range(ends[0], ends[-1] + 1))
    return found


def holders() -> dict[int, list[str]]:
    """Return the tests by number, as ``path::name``; a mention outside every test stands for its file."""
    found: dict[int, list[str]] = defaultdict(list)
    for path in sorted([*ROOT.glob("packages/*/tests/**/*.py"), *ROOT.glob("integration_tests/**/*.py")]):
        text = path.read_text(encoding="utf-8")
        if "SEMANTICS" not in text:
            continue
        name = path.relative_to(ROOT).as_posix()
        seen: set[int] = set()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test"):
                for number in mentioned(ast.get_docstring(node) or ""):
                    found[number].append(f"{name}::{node.name}")
                    seen.add(number)
        for number in mentioned(text) - seen:
            found[number].append(name)
    return found


def main() -> None:
    """Rewrite or check the page."""
    text = PAGE.read_text(encoding="utf-8")
    head = text.partition(MARKER)[0]
    numbers = [int(match["number"]) for match in BEHAVIOUR.finditer(head)]
    found = holders()
    lines = [f"| {number} | " + "<br>".join(f"`{test}`" for test in found[number]) + " |" for number in numbers]
    new = head + MARKER + "\n| behaviour | tests |\n|---|---|\n" + "\n".join(lines) + "\n"
    lacking = [number for number in numbers if not found[number]]
    if lacking:
        raise SystemExit(f"docs/design/semantics.md: no test names the behaviours {lacking}")
    if new != text:
        if "--check" in sys.argv:
            raise SystemExit("docs/design/semantics.md is stale; run python tools/generate_semantics.py")
        PAGE.write_text(new, encoding="utf-8")
    count = len({test for number in numbers for test in found[number]})
    print(f"{len(numbers)} behaviours are held by {count} tests")


if __name__ == "__main__":
    main()
