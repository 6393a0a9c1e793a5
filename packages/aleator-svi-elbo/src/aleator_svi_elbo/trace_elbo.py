"""The evidence lower bound from traces of the model and the guide."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from aleator.infer import density
from aleator.infer.gradient_rules import applied_rule
from aleator.plugins import Capabilities
from aleator_svi_elbo.elbo import ELBO
from aleator_svi_elbo.particle_terms import ParticleTerms, trace_terms
from aleator_svi_elbo.score_costs import shared_by_plates

if TYPE_CHECKING:
    from aleator.trace import Trace

__all__ = ["Trace_ELBO"]


@final
@dataclass(frozen=True, repr=False)
class Trace_ELBO(ELBO):  # the field's name for it
    """Estimate the evidence lower bound with as few assumptions about the programs as possible.

    Sites with reparameterized draws are differentiated along the draw; others by the score function, each score
    weighted by the costs of the plate elements it shares and of nothing else. ``infer={"gradient": ...}`` on a site of
    the guide asks for another rule: ``"score"``, or ``"stl"``, by which log q enters the gradient through the draw
    only. Arguments are those of ``ELBO``.

    References:
        D. Wingate, T. Weber, "Automated Variational Inference in Probabilistic Programming" (2013).
        R. Ranganath, S. Gerrish, D. Blei, "Black Box Variational Inference" (2014), section 4.1.
        G. Roeder, Y. Wu, D. Duvenaud, "Sticking the Landing" (2017).

    Example:
        >>> import torch, aleator
        >>> import aleator.distributions as dist
        >>> from aleator.infer import Trace_ELBO
        >>> def model():
        ...     aleator.sample("z", dist.Normal(0.0, 1.0))
        >>> Trace_ELBO().loss(model, model)
        0.0
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        non_reparam=True,
        vectorized_particles=True,
        subsampling=True,
        compilable=True,
        gradient_rules=frozenset({"pathwise", "score", "stl"}),
        bound="elbo",
    )
    draws_follow = True

    def particle_terms(self, model_trace: Trace, guide_trace: Trace) -> ParticleTerms:
        """Return log p - log q, and the surrogate with Rao-Blackwellized score terms."""
        return trace_terms(model_trace, guide_trace)

    def explain_sites(self, model_trace: Trace, guide_trace: Trace) -> Mapping[str, Mapping[str, str]]:
        """Return how each draw of the guide is differentiated, and what its score is multiplied by."""
        return {
            name: {"gradient": applied_rule(site), "kl": "Monte Carlo", "score costs": shared_by_plates(factor)}
            for name, factor in density(guide_trace).items()
            if not (site := guide_trace.nodes[name]).is_observed
        }
