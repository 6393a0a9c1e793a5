"""The importance weighted bound under its own name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from torch import Tensor

from aleator.plugins import Capabilities
from aleator_renyi.folding import RULES, fold, weighted_terms
from aleator_renyi.path_weights import attach_path_weights
from aleator_svi_elbo import ELBO, ParticleTerms

if TYPE_CHECKING:
    from aleator.trace import Trace

__all__ = ["IWAE"]


@final
@dataclass(frozen=True, repr=False)
class IWAE(ELBO):
    """Estimate the importance weighted bound, log of the mean weight: ``RenyiELBO`` at order 0.

    Arguments are those of ``ELBO``; the default is two particles.

    References:
        Y. Burda, R. Grosse, R. Salakhutdinov, "Importance Weighted Autoencoders" (2016).

    Example:
        >>> import aleator, aleator.distributions as dist
        >>> from aleator.infer import IWAE
        >>> def model():
        ...     aleator.sample("z", dist.Normal(0.0, 1.0))
        >>> IWAE(num_particles=5).loss(model, model)
        0.0
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        non_reparam=True,
        vectorized_particles=True,
        subsampling=True,
        compilable=True,
        gradient_rules=RULES,
        bound="iwae",
    )
    draws_follow = True

    num_particles: int = 2

    def after_guide(self, guide_trace: Trace) -> None:
        """Let the draws of ``dreg`` sites be weighed once the particles' weights are known."""
        attach_path_weights(guide_trace, 0.0)

    def particle_terms(self, model_trace: Trace, guide_trace: Trace) -> ParticleTerms:
        """Return log p - log q per datum, and the scores of the guide's sites by their gradient rule."""
        return weighted_terms(model_trace, guide_trace)

    def reduce(self, terms: ParticleTerms) -> tuple[Tensor, Tensor]:
        """Return the bound, and a surrogate whose gradient is the bound's."""
        return fold(terms, 0.0)
