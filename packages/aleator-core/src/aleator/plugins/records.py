"""What discovery found, and what went wrong with it: plain data."""

from __future__ import annotations

import traceback
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import final

__all__ = ["Failure", "PluginRecord", "Stage", "describe_error"]


@final
class Stage(Enum):
    """Where a plugin failed."""

    METADATA = "metadata"
    IMPORT = "import"
    API = "plugin API"
    REGISTRATION = "registration"
    HOOK = "hook"
    DESCRIPTOR = "descriptor"
    TARGET = "target"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """One thing that went wrong.

    Attributes:
        stage: where.
        reason: what, in one sentence without the plugin's name.
        traceback: the text of the original traceback, empty where nothing was raised.
        error: the original exception without its frames: they would keep the caller's tensors alive.
    """

    stage: Stage
    reason: str
    traceback: str = ""
    error: BaseException | None = None

    @classmethod
    def of(cls, stage: Stage, action: str, error: BaseException) -> Failure:
        """Record an exception that ``action`` raised, and let go of its frames."""
        text = "".join(traceback.format_exception(error))
        reason = f"{action} raised {describe_error(error)}"
        _drop_frames(error)
        return cls(stage=stage, reason=reason, traceback=text, error=error)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class PluginRecord:
    """One entry point of one installed distribution.

    Attributes:
        distribution: normalized name, ``"acme-vr"``.
        version: as its metadata states it; empty where the metadata is broken.
        entry_point: the name in the group ``aleator``.
        module: what the entry point names.
        attribute: the part after a colon; empty for a plain module.
        official: the core's table names the distribution.
        failure: what is wrong with the metadata.
    """

    distribution: str
    version: str
    entry_point: str
    module: str
    attribute: str = ""
    official: bool = False
    failure: Failure | None = field(default=None, compare=False)

    @property
    def key(self) -> str:
        """The name that is unique in a process: equal entry-point names of two distributions must not collide."""
        return f"{self.distribution}:{self.entry_point}"

    @property
    def label(self) -> str:
        """The plugin in words, for messages."""
        return f"{self.distribution} {self.version or '(version unknown)'} (entry point {self.entry_point!r})"

    @property
    def target(self) -> str:
        """What the entry point names, as it is written."""
        return f"{self.module}:{self.attribute}" if self.attribute else self.module


def describe_error(error: BaseException) -> str:
    """Return an exception's type, its text on one line, and the file and line that raised it."""
    text = " ".join(str(error).split())
    name = type(error).__name__ + (f": {text}" if text else "")
    place = ""
    trace = error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        module = str(trace.tb_frame.f_globals.get("__name__", ""))
        if not file.startswith("<frozen ") and not module.startswith(("aleator.", "importlib", "pluggy.")):
            # A folder and a file name say where to look; a whole path would differ from machine to machine.
            place = f" ({'/'.join(Path(file).parts[-2:])}, line {trace.tb_lineno})"
        trace = trace.tb_next
    return name + place


def _drop_frames(error: BaseException) -> None:
    seen: set[int] = set()
    pending: list[BaseException | None] = [error]
    while pending:
        current = pending.pop()
        if current is None or id(current) in seen:
            continue
        seen.add(id(current))
        current.__traceback__ = None
        pending += [current.__cause__, current.__context__]
        if isinstance(current, BaseExceptionGroup):
            pending += current.exceptions
