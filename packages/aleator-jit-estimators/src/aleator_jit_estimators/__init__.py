"""Steps of estimators compiled ahead of time.

Names are imported when they are first used, so that reading this plugin's manifest stays cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aleator.plugins import lazy_exports

if TYPE_CHECKING:
    from aleator_jit_estimators.compilation import compile, compile_report
    from aleator_jit_estimators.compiled_estimator import CompiledEstimator
    from aleator_jit_estimators.jit_elbo import (
        JitTrace_ELBO,
        JitTraceEnum_ELBO,
        JitTraceGraph_ELBO,
        JitTraceMeanField_ELBO,
    )
    from aleator_jit_estimators.report import CompileReport

__all__ = [
    "CompileReport",
    "CompiledEstimator",
    "JitTraceEnum_ELBO",
    "JitTraceGraph_ELBO",
    "JitTraceMeanField_ELBO",
    "JitTrace_ELBO",
    "compile",
    "compile_report",
]

_HOMES = {
    "CompileReport": "report",
    "CompiledEstimator": "compiled_estimator",
    "JitTraceEnum_ELBO": "jit_elbo",
    "JitTraceGraph_ELBO": "jit_elbo",
    "JitTraceMeanField_ELBO": "jit_elbo",
    "JitTrace_ELBO": "jit_elbo",
    "compile": "compilation",
    "compile_report": "compilation",
}

__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
