"""The evidence lower bound with score terms that know the graph of the programs, and baselines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from aleator.infer import density
from aleator.plugins import Capabilities
from aleator_svi_elbo.baselines import Baselines, site_baselines
from aleator_svi_elbo.downstream_costs import DownstreamCosts, reached_terms
from aleator_svi_elbo.elbo import ELBO
from aleator_svi_elbo.particle_terms import ParticleTerms, factor_terms

if TYPE_CHECKING:
    from aleator.trace import Trace

__all__ = ["TraceGraph_ELBO"]


@final
@dataclass(frozen=True, repr=False)
class TraceGraph_ELBO(ELBO):  # the field's name for it
    """Estimate the evidence lower bound; scores are multiplied by the costs downstream of their draws, and no others.

    Which terms of the model and the guide a draw enters, directly or through later draws, is found by one analysis of
    the programs and kept for their structure. A value that the program reads on the host counts for everything after
    it. Within the downstream costs, elements of a plate are kept apart as in ``Trace_ELBO``.

    A site of the guide without a reparameterized draw may have a baseline, which is subtracted from its costs and
    changes no expectation, by ``infer={"baseline": {...}}`` with

    - ``use_decaying_avg_baseline=True``, ``baseline_beta=0.9``: a decaying average of the costs, kept as the buffer
      ``"baseline/<site>"`` of the parameter store;
    - ``nn_baseline``, ``nn_baseline_input``: a module, or a function, and what it is called with, detached; register
      the module by ``aleator.module``, and it is trained with the rest, towards the costs;
    - ``baseline_value``: a number or a tensor, in the place of a network; a parameter is trained in the same way.

    Networks and tensors have one value for each element of the site's plates. Arguments are those of ``ELBO``.

    Raises:
        UnsupportedModelError: naming the site; a baseline where there is no score, or options that cannot be met.
        ValueError: naming the site, where a baseline has another shape than the costs.

    References:
        J. Schulman, N. Heess, T. Weber, P. Abbeel, "Gradient Estimation Using Stochastic Computation Graphs" (2015).
        A. Mnih, K. Gregor, "Neural Variational Inference and Learning in Belief Networks" (2014).

    Example:
        >>> import torch, aleator
        >>> import aleator.distributions as dist
        >>> from aleator.infer import SVI, TraceGraph_ELBO
        >>> from aleator.optim import Adam
        >>> def model():
        ...     z = aleator.sample("z", dist.Bernoulli(0.5))
        ...     aleator.sample("x", dist.Normal(z, 1.0), obs=torch.tensor(1.0))
        >>> def guide():
        ...     logits = aleator.param("logits", torch.tensor(0.0))
        ...     average = {"use_decaying_avg_baseline": True}
        ...     aleator.sample("z", dist.Bernoulli(logits=logits), infer={"baseline": average})
        >>> with aleator.ParamStore() as store:
        ...     svi = SVI(model, guide, Adam(lr=0.1), TraceGraph_ELBO(), rng=0)
        ...     losses = [svi.step() for _ in range(3)]
        ...     list(store.buffers)
        ['baseline/z']
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        non_reparam=True,
        vectorized_particles=True,
        subsampling=True,
        compilable=True,
        gradient_rules=frozenset({"pathwise", "score", "stl"}),
        bound="elbo",
    )
    needs_structure: ClassVar[bool] = True
    takes_baselines: ClassVar[bool] = True

    def particle_terms(self, model_trace: Trace, guide_trace: Trace) -> ParticleTerms:
        """Return log p - log q, and the surrogate with scores times downstream costs less baselines."""
        weights = DownstreamCosts(guide_trace)
        model, guide = density(model_trace), density(guide_trace)
        options = site_baselines(model_trace, guide_trace, guide)
        if not options:
            return factor_terms(model, guide, weights)
        baselines = Baselines(weights, options)
        terms = factor_terms(model, guide, baselines)
        loss = baselines.loss
        surrogate = terms.surrogate if loss is None else terms.surrogate - loss
        return terms._replace(surrogate=surrogate, updates=baselines.updates)

    def explain_sites(self, model_trace: Trace, guide_trace: Trace) -> Mapping[str, Mapping[str, str]]:
        """Return what the score of each site of the guide is multiplied by, and its baseline; as words, by column."""
        factors = density(guide_trace)
        options = site_baselines(model_trace, guide_trace, factors)
        table = {}
        for name, factor in factors.items():
            has_score = factor.score is not None
            terms = reached_terms(guide_trace.nodes[name], model_trace, guide_trace) if has_score else ()
            table[name] = {"score costs": ", ".join(terms), "baseline": str(options.get(name, ""))}
        return table
