"""Stochastic variational inference: SVI and the estimators of the evidence lower bound."""

from __future__ import annotations

from aleator_svi_elbo.elbo import ELBO
from aleator_svi_elbo.particle_terms import ParticleTerms, common_plates, trace_terms
from aleator_svi_elbo.svi import SVI
from aleator_svi_elbo.trace_elbo import Trace_ELBO

__all__ = ["ELBO", "SVI", "ParticleTerms", "Trace_ELBO", "common_plates", "trace_terms"]
