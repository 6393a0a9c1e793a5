"""Where in a program something happened: after which site, on which line."""

from __future__ import annotations

import traceback
from typing import final

from aleator.messenger import Messenger
from aleator.sites import Site
from aleator_jit_estimators.kinds import is_official

__all__ = ["LastSite", "place_of"]


@final
class LastSite(Messenger):
    """Remembers the sample site that a program came to last."""

    opens_run = False

    def __init__(self) -> None:
        self.name: str | None = None

    def process_sample(self, site: Site) -> None:
        """Note the site."""
        self.name = site.name


def place_of(error: BaseException, last: LastSite) -> str:
    """Return where an error comes from, in words: the last site, and the line of the program; empty for neither."""
    site = None if last.name is None else f"at or after site {last.name!r}"
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    own = [frame for frame in frames if not is_official(frame.f_globals.get("__name__"))]
    line = f"{own[-1].f_code.co_filename}:{_line(error, own[-1])}" if own else None
    return ", ".join(each for each in (site, line) if each is not None)


def _line(error: BaseException, frame: object) -> int:
    return [number for each, number in traceback.walk_tb(error.__traceback__) if each is frame][-1]
