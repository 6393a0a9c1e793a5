"""Warnings that point at the line of the user's program, however deep in the framework they arise."""

from __future__ import annotations

import sys
import warnings
from types import FrameType

__all__ = ["warn_caller"]


def _belongs_to_framework(frame: FrameType) -> bool:
    module = str(frame.f_globals.get("__name__", ""))
    return module == "aleator" or module.startswith(("aleator.", "importlib."))


def warn_caller(message: str, category: type[Warning]) -> None:
    """Warn, naming the innermost line on the stack that is not the core's own."""
    frame = sys._getframe(1)
    while _belongs_to_framework(frame) and frame.f_back is not None:
        frame = frame.f_back
    warnings.warn_explicit(
        message,
        category,
        filename=frame.f_code.co_filename,
        lineno=frame.f_lineno,
        module=str(frame.f_globals.get("__name__", "<unknown>")),
        registry=frame.f_globals.setdefault("__warningregistry__", {}),
    )
