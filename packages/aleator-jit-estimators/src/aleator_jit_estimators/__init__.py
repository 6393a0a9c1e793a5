"""Steps of estimators compiled ahead of time.

Names are imported when they are first used, so that reading this plugin's manifest stays cheap.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aleator_jit_estimators.compilation import compile, compile_report
    from aleator_jit_estimators.compiled_estimator import CompiledEstimator
    from aleator_jit_estimators.compiled_step import CompileReport

__all__ = ["CompileReport", "CompiledEstimator", "compile", "compile_report"]

_HOMES = {
    "CompileReport": "compiled_step",
    "CompiledEstimator": "compiled_estimator",
    "compile": "compilation",
    "compile_report": "compilation",
}


def __getattr__(name: str) -> object:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{home}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
