"""Keep the code blocks of Markdown pages equal to the tested files they come from.

A page says ``<!-- include: PATH -->`` or ``<!-- include: PATH#MARKER -->`` on a line of its own, and a fenced block
follows. The block is the whole file, or what lies between the two lines ``# [MARKER]`` of it.

    python tools/generate_snippets.py            # rewrite the pages
    python tools/generate_snippets.py --check    # fail, naming the pages, where one is stale
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
INCLUDE = re.compile(
    r"^<!-- include: (?P<path>[^#\s]+)(?:#(?P<marker>\S+))? -->\n```(?P<language>\w*)\n(?P<body>.*?)^```$", re.M | re.S
)


def snippet(path: str, marker: str | None) -> str:
    """Return a file's text, or the part between two marker lines.

    Raises:
        SystemExit: where the file or the pair of markers does not exist.
    """
    file = ROOT / path
    if not file.is_file():
        raise SystemExit(f"include: there is no file {path}")
    text = file.read_text(encoding="utf-8")
    if marker is None:
        return text.strip("\n") + "\n"
    parts = re.split(rf"^# \[{re.escape(marker)}\]\n", text, flags=re.M)
    if len(parts) != 3:
        raise SystemExit(f"include: {path} needs the line '# [{marker}]' exactly twice")
    return parts[1].strip("\n") + "\n"


def refreshed(text: str) -> str:
    """Return a page's text with all its included blocks as their files have them now."""

    def block(match: re.Match[str]) -> str:
        marker = f"#{match['marker']}" if match["marker"] else ""
        body = snippet(match["path"], match["marker"])
        return f"<!-- include: {match['path']}{marker} -->\n```{match['language']}\n{body}```"

    return INCLUDE.sub(block, text)


def main() -> None:
    """Rewrite or check every page of the repository."""
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md")), *sorted(ROOT.glob("packages/*/README.md"))]
    stale = []
    for page in pages:
        text = page.read_text(encoding="utf-8")
        if text.count("<!-- include:") != len(INCLUDE.findall(text)):
            raise SystemExit(f"include: {page.relative_to(ROOT)} has an include that no fenced block follows at once")
        new = refreshed(text)
        if new != text:
            stale.append(str(page.relative_to(ROOT)))
            if "--check" not in sys.argv:
                page.write_text(new, encoding="utf-8")
    if stale and "--check" in sys.argv:
        raise SystemExit(f"stale pages: {', '.join(stale)}; run python tools/generate_snippets.py")
    print(f"{len(pages)} pages, {len(stale)} {'rewritten' if stale else 'stale'}")


if __name__ == "__main__":
    main()
