"""Stochastic variational inference: SVI and the estimators of the evidence lower bound.

Names are imported when they are first used, so that reading this plugin's manifest stays cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aleator.plugins import lazy_exports

if TYPE_CHECKING:
    from aleator_svi_elbo.early_stopping import EarlyStopping
    from aleator_svi_elbo.elbo import ELBO
    from aleator_svi_elbo.loss_module import LossModule
    from aleator_svi_elbo.particle_terms import ParticleTerms, common_plates, factor_terms, trace_terms
    from aleator_svi_elbo.summation import sum_to_dims
    from aleator_svi_elbo.svi import SVI
    from aleator_svi_elbo.trace_elbo import Trace_ELBO
    from aleator_svi_elbo.trace_graph_elbo import TraceGraph_ELBO
    from aleator_svi_elbo.trace_mean_field_elbo import TraceMeanField_ELBO

__all__ = [
    "ELBO",
    "SVI",
    "EarlyStopping",
    "LossModule",
    "ParticleTerms",
    "TraceGraph_ELBO",
    "TraceMeanField_ELBO",
    "Trace_ELBO",
    "common_plates",
    "factor_terms",
    "sum_to_dims",
    "trace_terms",
]

_HOMES = {
    "ELBO": "elbo",
    "SVI": "svi",
    "EarlyStopping": "early_stopping",
    "LossModule": "loss_module",
    "ParticleTerms": "particle_terms",
    "TraceMeanField_ELBO": "trace_mean_field_elbo",
    "TraceGraph_ELBO": "trace_graph_elbo",
    "Trace_ELBO": "trace_elbo",
    "common_plates": "particle_terms",
    "factor_terms": "particle_terms",
    "sum_to_dims": "summation",
    "trace_terms": "particle_terms",
}

__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
