"""The evidence lower bound with analytic divergences where they are known."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from aleator.infer import density
from aleator.infer.gradient_rules import applied_rule
from aleator.plugins import Capabilities
from aleator.trace import Trace
from aleator_svi_elbo.elbo import ELBO
from aleator_svi_elbo.mean_field import divergences, reasons_to_draw
from aleator_svi_elbo.particle_terms import ParticleTerms, factor_terms
from aleator_svi_elbo.score_costs import shared_by_plates

if TYPE_CHECKING:
    from aleator.infer import Factor

__all__ = ["TraceMeanField_ELBO"]


@final
@dataclass(frozen=True, repr=False)
class TraceMeanField_ELBO(ELBO):  # the field's name for it
    """Estimate the evidence lower bound with ``KL(q || p)`` of a site in closed form wherever that is right.

    A latent site's divergence stands for log q - log p where ``aleator.distributions.kl_divergence`` has a rule for the
    two distributions and nothing that they look at depends on the draw in the guide (the mean-field condition, decided
    by true dependence). Elsewhere, and where the site asks for the rule ``"stl"`` or ``"score"``, its term is estimated
    by the draw, as in ``Trace_ELBO``: the estimate has the right expectation for any guide of reparameterized sites.
    Arguments are those of ``ELBO``.

    Raises:
        UnsupportedModelError: a guide's site, auxiliary ones included, that has no reparameterized draw.
        ModelGuideMismatchError: a site whose scale or mask in the model is not that in the guide.

    Example:
        >>> import torch, aleator
        >>> import aleator.distributions as dist
        >>> from aleator.infer import TraceMeanField_ELBO
        >>> def model():
        ...     aleator.sample("z", dist.Normal(0.0, 1.0))
        >>> def guide():
        ...     aleator.sample("z", dist.Normal(1.0, 1.0))
        >>> TraceMeanField_ELBO().loss(model, guide)
        0.5
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        non_reparam=False,
        vectorized_particles=True,
        subsampling=True,
        compilable=True,
        gradient_rules=frozenset({"pathwise", "score", "stl"}),
        bound="elbo",
    )
    needs_structure: ClassVar[bool] = True

    def particle_terms(self, model_trace: Trace, guide_trace: Trace) -> ParticleTerms:
        """Return the bound's terms, divergences in closed form, and a surrogate with score terms where asked for."""
        known = divergences(model_trace, guide_trace)
        guide = density(_without(guide_trace, known))
        return factor_terms(density(_without(model_trace, known)), {**guide, **known})

    def explain_sites(self, model_trace: Trace, guide_trace: Trace) -> Mapping[str, Mapping[str, str]]:
        """Return how each draw of the guide is differentiated, and whether its divergence is in closed form."""
        reasons = reasons_to_draw(model_trace, guide_trace)
        table = {}
        for name, factor in density(guide_trace).items():
            site = guide_trace.nodes[name]
            if not site.is_observed:
                reason = reasons.get(name)
                kl = "analytic" if reason is None else f"Monte Carlo ({reason})"
                costs = shared_by_plates(factor)
                table[name] = {"gradient": applied_rule(site), "kl": kl, "score costs": costs}
        return table


def _without(trace: Trace, known: Mapping[str, Factor]) -> Trace:
    return Trace({name: site for name, site in trace.nodes.items() if name not in known}) if known else trace
