"""What an algorithm returns: weighted draws by site, the base class of algorithms, marginals and predictions.

Names are imported when they are first used, so that reading this plugin's manifest stays cheap.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from aleator.plugins import lazy_exports

if TYPE_CHECKING:
    from aleator_posterior.arviz_export import to_arviz
    from aleator_posterior.columns import Columns
    from aleator_posterior.draw_files import load_draws, save_draws
    from aleator_posterior.draws import Draws
    from aleator_posterior.draws_builder import DrawsBuilder
    from aleator_posterior.empirical_marginal import EmpiricalMarginal
    from aleator_posterior.information import information_criterion
    from aleator_posterior.marginals import Marginals
    from aleator_posterior.predictive import Predictive
    from aleator_posterior.rebuilt_traces import RebuiltTraces
    from aleator_posterior.site_description import SiteDescription
    from aleator_posterior.trace_posterior import TracePosterior
    from aleator_posterior.trace_predictive import TracePredictive

__all__ = [
    "Columns",
    "Draws",
    "DrawsBuilder",
    "EmpiricalMarginal",
    "Marginals",
    "Predictive",
    "RebuiltTraces",
    "SiteDescription",
    "TracePosterior",
    "TracePredictive",
    "information_criterion",
    "load_draws",
    "save_draws",
    "to_arviz",
]

_HOMES = {
    "Columns": "columns",
    "Draws": "draws",
    "DrawsBuilder": "draws_builder",
    "EmpiricalMarginal": "empirical_marginal",
    "Marginals": "marginals",
    "Predictive": "predictive",
    "RebuiltTraces": "rebuilt_traces",
    "SiteDescription": "site_description",
    "TracePosterior": "trace_posterior",
    "TracePredictive": "trace_predictive",
    "information_criterion": "information",
    "load_draws": "draw_files",
    "save_draws": "draw_files",
    "to_arviz": "arviz_export",
}

__getattr__, __dir__ = lazy_exports(__name__, _HOMES)
