"""The Renyi bound: particles folded by their weights, with the gradient of the bound itself."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from torch import Tensor

from aleator.plugins import Capabilities
from aleator_renyi.folding import RULES, fold, weighted_terms
from aleator_renyi.path_weights import attach_path_weights
from aleator_svi_elbo import ELBO, ParticleTerms

if TYPE_CHECKING:
    from aleator.trace import Trace

__all__ = ["RenyiELBO"]


@final
@dataclass(frozen=True, repr=False, init=False)
class RenyiELBO(ELBO):
    """Estimate the Renyi bound of order ``alpha`` from ``num_particles`` weights.

    The objective is log mean w**(1 - alpha) / (1 - alpha) for each element of the plates that are around every site,
    summed over them: one bound per datum, which is tighter than one for all. Its gradient is that of the K-sample bound
    as reported, for pathwise sites and for score-function sites. The scale of a subsampled plate multiplies a datum's
    bound; a scale on some of the sites only (tempering) belongs to their log-probabilities.

    Args:
        alpha: the order, any number but 1. 0 gives the importance weighted bound (``IWAE``), ``-inf`` the largest
            weight (VR-max), ``inf`` the smallest; for negative orders the bound may exceed the evidence.
        num_particles: how many weights one bound takes; with one every order is the evidence lower bound.
        max_plate_nesting: as in ``ELBO``, and so are the others.

    Raises:
        ValueError: ``alpha`` is 1 (that is ``Trace_ELBO``) or no number.
        UnsupportedModelError: at a step, where a subsampled plate is not around every site.

    References:
        Y. Li, R. Turner, "Renyi Divergence Variational Inference" (2016).
        Y. Burda, R. Grosse, R. Salakhutdinov, "Importance Weighted Autoencoders" (2016).

    Example:
        >>> import torch, aleator
        >>> import aleator.distributions as dist
        >>> from aleator.infer import RenyiELBO
        >>> def model():
        ...     aleator.sample("z", dist.Normal(0.0, 1.0))
        >>> RenyiELBO(alpha=0.5, num_particles=3).loss(model, model)
        0.0
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        non_reparam=True,
        vectorized_particles=True,
        subsampling=True,
        compilable=True,
        gradient_rules=RULES,
        bound="renyi",
    )
    draws_follow = True

    alpha: float = 0.0

    def __init__(
        self,
        alpha: float = 0.0,
        num_particles: int = 2,
        max_plate_nesting: float = math.inf,
        max_iarange_nesting: int | None = None,
        vectorize_particles: bool = False,
        strict_enumeration_warning: bool = True,
        ignore_jit_warnings: bool = False,
        retain_graph: bool | None = None,
    ) -> None:
        if isinstance(alpha, bool) or not isinstance(alpha, (int, float)) or math.isnan(alpha):
            raise ValueError(f"RenyiELBO: alpha must be a number other than 1, but is {alpha!r}")
        if alpha == 1.0:
            raise ValueError("RenyiELBO: at alpha=1 the bound is the evidence lower bound; use Trace_ELBO")
        object.__setattr__(self, "alpha", alpha)
        ELBO.__init__(
            self,
            num_particles,
            max_plate_nesting,
            max_iarange_nesting,
            vectorize_particles,
            strict_enumeration_warning,
            ignore_jit_warnings,
            retain_graph,
        )

    def after_guide(self, guide_trace: Trace) -> None:
        """Let the draws of ``dreg`` sites be weighed once the particles' weights are known."""
        attach_path_weights(guide_trace, self.alpha)

    def particle_terms(self, model_trace: Trace, guide_trace: Trace) -> ParticleTerms:
        """Return log p - log q per datum, and the scores of the guide's sites by their gradient rule."""
        return weighted_terms(model_trace, guide_trace)

    def reduce(self, terms: ParticleTerms) -> tuple[Tensor, Tensor]:
        """Return the bound, and a surrogate whose gradient is the bound's."""
        return fold(terms, self.alpha)
