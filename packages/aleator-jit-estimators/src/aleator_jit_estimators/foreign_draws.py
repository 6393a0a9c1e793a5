"""Draws that a program makes by torch itself: uncompiled, they come from the process's generator."""

from __future__ import annotations

import sys

__all__ = ["foreign_draw_warning", "place_of_foreign_draw"]

_PASSED_ON = ("torch", "aleator_jit_estimators", "contextlib")


def place_of_foreign_draw() -> str | None:
    """Return the line of the program that the draw under way comes from; ``None`` where it is Aleator that draws."""
    frame = sys._getframe(1)
    while frame is not None:
        top = str(frame.f_globals.get("__name__")).partition(".")[0]
        if top not in _PASSED_ON:
            return None if top == "aleator" else f"{frame.f_code.co_filename}:{frame.f_lineno}"
        frame = frame.f_back  # type: ignore[assignment]  # the first frame has none
    return None


def foreign_draw_warning(place: str) -> str:
    """Return what to say of such draws in a run that has randomness of its own."""
    return (
        f"the program draws by torch itself ({place}): in a run with randomness of its own (rng=, or a functional one) "
        f"compiled steps take these numbers from the run's source, uncompiled ones from the process's generator, so "
        f"that they differ; draw them at a sample site"
    )
