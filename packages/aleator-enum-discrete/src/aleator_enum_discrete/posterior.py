"""Posteriors of the sites that a model sums out, given the draws of a guide."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

import aleator.distributions as dist
from aleator.handlers.replay import ReplayMessenger
from aleator.runtime import Run
from aleator_enum_discrete.engine.marginals import marginalize
from aleator_enum_discrete.engine.tables import Table
from aleator_enum_discrete.enum_messenger import CHOSEN
from aleator_enum_discrete.enumerated_dims import ENUMERATED
from aleator_enum_discrete.enumerated_runs import trace_enumerated
from aleator_enum_discrete.posterior_tables import GivenValues, assign, chosen_values, posterior_tables
from aleator_enum_discrete.program_pair import ProgramPair
from aleator_svi_elbo.tracing import Pair, SharedSubsample

if TYPE_CHECKING:
    from aleator.sites import Site
    from aleator_svi_elbo import ELBO

__all__ = ["marginals_of", "model_on_posterior_draw"]


def marginals_of(estimator: ELBO, programs: ProgramPair) -> dict[str, Any]:
    """Return the posterior of each site that the model sums out; see ``TraceEnum_ELBO.compute_marginals``."""
    pair = _single_pair(estimator, "compute_marginals", programs)
    found = posterior_tables(pair.model_trace)
    posterior = marginalize(found.tables, found.domain, memory_budget=found.memory_budget)
    return {name: _distribution(site, posterior.variables[name]) for name, (site, _) in found.sites.items()}


def model_on_posterior_draw(estimator: ELBO, programs: ProgramPair) -> Any:  # noqa: ANN401  # what the model returns
    """Return what the model returns on a joint posterior draw; see ``TraceEnum_ELBO.sample_posterior``."""
    pair = _single_pair(estimator, "sample_posterior", programs)
    trace = pair.model_trace
    found = posterior_tables(trace)
    values = chosen_values(trace, found, assign(found, temperature=1))
    with ReplayMessenger(trace=pair.guide_trace), SharedSubsample((trace,)), GivenValues(values):
        return programs.model(*programs.args, **programs.kwargs)


def _single_pair(estimator: ELBO, method: str, programs: ProgramPair) -> Pair:
    what = f"{type(estimator).__name__}.{method}"
    if estimator.num_particles != 1:
        raise ValueError(
            f"{what} is about one draw of the guide, but num_particles is {estimator.num_particles}; use an estimator "
            f"with num_particles=1, and call it several times"
        )
    with Run():
        pair = trace_enumerated(estimator, programs).pairs[0]
    for name, site in pair.guide_trace.nodes.items():
        if site._stash is not None and (ENUMERATED in site._stash or CHOSEN in site._stash):
            raise ValueError(
                f"{what} is given the guide's draws, but the guide enumerates {name!r}; take the mark away there, or "
                f"leave the site out of the guide, so that the model sums it out"
            )
    return pair


def _distribution(site: Site, table: Table) -> Any:  # noqa: ANN401  # a distribution of the site's family
    """Return probabilities over the plates of a site, and its values, as a distribution over its plates."""
    dims = {frame.name: frame.dim for frame in site.frames if frame.dim is not None}
    order = sorted(table.names[:-1], key=lambda name: dims[name])
    shape = [1] * max((-dim for dim in dims.values()), default=0)
    for place, name in enumerate(table.names[:-1]):
        shape[dims[name]] = table.values.shape[place]
    axes = [table.names.index(name) for name in (*order, table.names[-1])]
    probs: Tensor = table.values.permute(axes).reshape(*shape, table.values.shape[-1]).clamp(0.0, 1.0)
    family = _family(site.fn)
    if family is torch.distributions.Bernoulli:
        return dist.Bernoulli(probs[..., 1])
    if family is torch.distributions.OneHotCategorical:
        return dist.OneHotCategorical(probs)
    return dist.Categorical(probs)


def _family(fn: Any) -> type | None:  # noqa: ANN401  # any distribution
    while isinstance(fn, (dist.MaskedDistribution, torch.distributions.Independent)):
        fn = fn.base_dist
    families = (torch.distributions.Bernoulli, torch.distributions.OneHotCategorical)
    return next((family for family in families if isinstance(fn, family)), None)
