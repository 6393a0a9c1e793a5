"""Which official distribution provides which name."""

# Written by tools/generate_facade.py from the official plugins' manifests; do not edit.

from __future__ import annotations

from typing import Final

from aleator.plugins.official_names import OfficialNames

__all__ = ["OFFICIAL"]

OFFICIAL: Final = OfficialNames(
    infer={
        "BackwardSampleMessenger": "aleator-enum-discrete",
        "Draws": "aleator-posterior",
        "ELBO": "aleator-svi-elbo",
        "EmpiricalMarginal": "aleator-posterior",
        "IWAE": "aleator-renyi",
        "Importance": "aleator-importance",
        "JitTraceEnum_ELBO": "aleator-jit-estimators",
        "JitTraceGraph_ELBO": "aleator-jit-estimators",
        "JitTraceMeanField_ELBO": "aleator-jit-estimators",
        "JitTrace_ELBO": "aleator-jit-estimators",
        "Marginals": "aleator-posterior",
        "Predictive": "aleator-posterior",
        "RenyiELBO": "aleator-renyi",
        "SVI": "aleator-svi-elbo",
        "TraceEnum_ELBO": "aleator-enum-discrete",
        "TraceGraph_ELBO": "aleator-svi-elbo",
        "TraceMeanField_ELBO": "aleator-svi-elbo",
        "TracePosterior": "aleator-posterior",
        "TracePredictive": "aleator-posterior",
        "Trace_ELBO": "aleator-svi-elbo",
        "compile": "aleator-jit-estimators",
        "config_enumerate": "aleator-enum-discrete",
        "functional": "aleator-svi-elbo",
        "infer_discrete": "aleator-enum-discrete",
    },
    handlers={
        "enum": "aleator-enum-discrete",
        "infer_discrete": "aleator-enum-discrete",
    },
    infer_keys={
        "baseline": "aleator-svi-elbo",
        "enumerate": "aleator-enum-discrete",
        "expand": "aleator-enum-discrete",
        "gradient": "aleator-svi-elbo",
        "num_samples": "aleator-enum-discrete",
    },
)
