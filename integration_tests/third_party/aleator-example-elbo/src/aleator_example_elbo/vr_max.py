"""The bound that follows the largest importance weight."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from torch import Tensor

from aleator.plugins import Capabilities
from aleator_svi_elbo import ELBO, ParticleTerms

__all__ = ["VRMax"]


@final
@dataclass(frozen=True, repr=False)
class VRMax(ELBO):
    """Keep only the particle with the largest weight (Li and Turner 2016, section 4.1); arguments as ``ELBO``.

    Example:
        >>> import torch, aleator
        >>> import aleator.distributions as dist
        >>> def model():
        ...     aleator.sample("z", dist.Normal(0.0, 1.0))
        >>> VRMax(num_particles=3).loss(model, model)
        0.0
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        non_reparam=True, vectorized_particles=True, gradient_rules=frozenset({"pathwise", "score"}), bound="vr-max"
    )

    def reduce(self, terms: ParticleTerms) -> tuple[Tensor, Tensor]:
        """Return the largest log weight; its gradient is its own, and every particle's score weighs the whole bound."""
        bound = terms.log_weight.max(0).values
        return bound, bound + terms.score.sum(0) * bound.detach()
