"""A pytest plugin that runs the Python blocks of Markdown pages: ``pytest -p markdown_blocks PAGE.md``.

The blocks of a page run in order and share their names, as a reader would type them. A block under the line
``<!-- not run: REASON -->`` is passed over, and so is one that ``generate_snippets.py`` keeps equal to a tested file.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, final

import pytest

__all__ = ["MarkdownBlock", "MarkdownPage", "pytest_collect_file"]

FENCE = re.compile(r"^```python\s*$(?P<code>.*?)^```\s*$", re.MULTILINE | re.DOTALL)
NOT_RUN = re.compile(r"<!-- (not run: \S.*|include: \S+) -->\s*$")


@final
class MarkdownBlock(pytest.Item):
    """One block of a page."""

    def __init__(self, *, code: str, line: int, page: ModuleType, **settings: Any) -> None:  # noqa: ANN401  # pytest's
        super().__init__(**settings)
        self.code = code
        self.line = line
        self.page = page

    def runtest(self) -> None:
        """Run the block among the names that earlier blocks left."""
        padded = "\n" * self.line + self.code
        sys.modules[self.page.__name__] = self.page  # dataclasses look their module up
        exec(compile(padded, str(self.path), "exec"), vars(self.page))

    def reportinfo(self) -> tuple[Path, int, str]:
        """Say where the block stands."""
        return self.path, self.line, f"{self.path.name}:{self.line}"


@final
class MarkdownPage(pytest.File):
    """A page with Python blocks."""

    def collect(self) -> Iterator[MarkdownBlock]:
        """Yield the page's blocks, unless they are marked as not run."""
        text = self.path.read_text(encoding="utf-8")
        page = ModuleType(f"page_{self.path.stem}")
        for match in FENCE.finditer(text):
            line = text.count("\n", 0, match.start("code"))
            if not NOT_RUN.search(text[: match.start()]):
                yield MarkdownBlock.from_parent(self, name=f"line {line}", code=match["code"], line=line, page=page)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> MarkdownPage | None:
    """Collect Markdown pages beside whatever else is collected."""
    return MarkdownPage.from_parent(parent, path=file_path) if file_path.suffix == ".md" else None
