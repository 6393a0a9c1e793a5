"""What each site of a trace adds to a log density: a pure function of the trace."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from math import prod
from typing import TYPE_CHECKING, Any, final

from torch import Tensor

from aleator.distributions import Independent, MaskedDistribution
from aleator.distributions.arguments import broadcast_shapes
from aleator.infer.joint_scoring import score_sites
from aleator.scoring import is_deterministic
from aleator.stash import StashKey

if TYPE_CHECKING:
    from aleator.sites import PlateFrame, Site
    from aleator.trace import Trace

__all__ = ["DETACHED_DRAW", "PATH_DENSITY", "SUMMED_OUT", "Factor", "Role", "density"]

PATH_DENSITY = StashKey[Tensor]("path_density")
"""On a site of a guide: its ``log_prob``, masked, as a function of the draws alone; the parameters are constants in it.

Whoever runs the programs puts it there for sites whose gradient rule asks for it (``"stl"``).
"""

DETACHED_DRAW = StashKey[bool]("detached_draw")
"""Marks a site of a guide whose draw was cut from its graph, so that it needs a score term."""

SUMMED_OUT = StashKey[bool]("summed_out")
"""Marks a latent site of a model that whoever runs it sums over all its values: it needs no partner in the guide."""


@final
class Role(Enum):
    """What a site is to an estimator."""

    LATENT = "latent"
    OBSERVED = "observed"
    AUXILIARY = "auxiliary"


@final
@dataclass(frozen=True, slots=True)
class Factor:
    """What one site adds to log p or log q.

    Attributes:
        name: the site.
        role: latent, observed, or auxiliary (a guide's site that the model lacks on purpose).
        log_prob: masked, not scaled, over the batch shape.
        score: neither masked nor scaled; ``None`` where the site is pathwise, or is data.
        entropy: the part of log q that is differentiated directly: ``log_prob`` where pathwise, or the same number as a
            function of the draws alone where the site's gradient sticks the landing; 0 where there is a score.
        frames: the plates around the site.
        scale: the handlers' scale; the plates' is ``plate_scale``.
        mask: which elements count; ``None`` for all.
    """

    name: str
    role: Role
    log_prob: Tensor
    score: Tensor | None
    entropy: Tensor | float
    frames: frozenset[PlateFrame]
    scale: Tensor | float
    mask: Tensor | bool | None

    @property
    def plate_scale(self) -> float:
        """The product of ``full_size / size`` over the plates."""
        return prod(frame.scale for frame in self.frames if frame.size != frame.full_size)

    @property
    def scaled(self) -> Tensor:
        """``log_prob`` times the handlers' and the plates' scales."""
        factor = self.scale * self.plate_scale
        return self.log_prob if isinstance(factor, float) and factor == 1.0 else self.log_prob * factor


def density(trace: Trace) -> Mapping[str, Factor]:
    """Score the sample sites of a trace, in their order; sites that only record a value are left out.

    Raises:
        ValueError: naming the site, where a distribution cannot score its value.

    Example:
        >>> import torch, aleator
        >>> import aleator.distributions as dist
        >>> from aleator import handlers
        >>> from aleator.infer import density
        >>> with handlers.trace() as trace, aleator.plate("data", 10, subsample=[0, 1]):
        ...     _ = aleator.sample("x", dist.Normal(0.0, 1.0), obs=torch.zeros(2))
        >>> factor = density(trace)["x"]
        >>> factor.role.value, factor.plate_scale, tuple(factor.log_prob.shape)
        ('observed', 5.0, (2,))
    """
    nodes = trace.nodes
    scores = score_sites(site for site in nodes.values() if site.type == "sample" and not is_deterministic(site))
    return {name: _factor(nodes[name], raw, log_prob) for name, (raw, log_prob) in scores.items()}


def _factor(site: Site, raw: Tensor, log_prob: Tensor) -> Factor:
    entropy: Tensor | float = log_prob
    if site.is_observed:
        role = Role.OBSERVED
        # A term added by ``factor`` is no data: in a guide it depends on draws, by its own word not pathwise.
        is_score = site.fn.event_shape == (0,) and getattr(site.fn, "has_rsample", None) is False
    else:
        role = Role.AUXILIARY if site.infer.get("is_auxiliary") else Role.LATENT
        is_score = not site.fn.has_rsample or site.infer.get("gradient") == "score"
        stash = site._stash
        if stash is not None:
            is_score = is_score or DETACHED_DRAW in stash
            entropy = stash.get(PATH_DENSITY, log_prob)  # type: ignore[assignment]  # the default is no None
    return Factor(
        site.name,
        role,
        log_prob,
        _score(site, raw) if is_score else None,
        0.0 if is_score else entropy,
        frozenset(site.frames),
        site.scale,
        site.mask,
    )


def _score(site: Site, log_prob: Tensor) -> Tensor:
    """Return the log-probability of the draw itself: a mask says what counts in the objective, not what was drawn."""
    fn = _unmasked(site.fn)
    if fn is site.fn and site.mask is not False:
        return log_prob
    score: Tensor = fn.log_prob(site.value)
    return score.expand(broadcast_shapes(score.shape, site.fn.batch_shape))


def _unmasked(fn: Any) -> Any:  # noqa: ANN401  # any distribution
    if isinstance(fn, MaskedDistribution):
        return _unmasked(fn.base_dist)
    if isinstance(fn, Independent):
        base = _unmasked(fn.base_dist)
        return fn if base is fn.base_dist else Independent(base, fn.reinterpreted_batch_ndims)
    return fn
