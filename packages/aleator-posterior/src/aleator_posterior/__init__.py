"""What an algorithm returns: weighted draws by site, the base class of algorithms, and marginals."""

from __future__ import annotations

from aleator_posterior.columns import Columns
from aleator_posterior.draws import Draws
from aleator_posterior.draws_builder import DrawsBuilder
from aleator_posterior.empirical_marginal import EmpiricalMarginal
from aleator_posterior.marginals import Marginals
from aleator_posterior.rebuilt_traces import RebuiltTraces
from aleator_posterior.site_description import SiteDescription
from aleator_posterior.trace_posterior import TracePosterior

__all__ = [
    "Columns",
    "Draws",
    "DrawsBuilder",
    "EmpiricalMarginal",
    "Marginals",
    "RebuiltTraces",
    "SiteDescription",
    "TracePosterior",
]
