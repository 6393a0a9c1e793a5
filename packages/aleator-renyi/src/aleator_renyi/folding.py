"""From particles to the bound: their terms per datum, and a surrogate for every gradient rule."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Final

from torch import Tensor

from aleator.errors import UnsupportedModelError
from aleator.infer import density
from aleator_renyi.bounds import bound, leave_one_out, normalized_weights
from aleator_renyi.path_weights import weigh_paths
from aleator_svi_elbo import ParticleTerms, common_plates, factor_terms, sum_to_dims

if TYPE_CHECKING:
    from aleator.infer import Factor
    from aleator.trace import Trace

__all__ = ["RULES", "fold", "weighted_terms"]

RULES: Final[frozenset[str]] = frozenset({"pathwise", "score", "stl", "dreg", "vimco"})


def weighted_terms(model_trace: Trace, guide_trace: Trace) -> ParticleTerms:
    """Return one particle's log weight per datum, what scales a whole datum kept outside, and scores by rule.

    Raises:
        UnsupportedModelError: naming the plate, where a subsampled plate is not around every site: its scale would
            belong inside a power of the weights, and the bound be biased.
    """
    model, guide = density(model_trace), density(guide_trace)
    factors = [*model.values(), *guide.values()]
    common = common_plates(factors)
    for factor in factors:
        for frame in factor.frames - common:
            if frame.size != frame.full_size:
                raise UnsupportedModelError(
                    f"plate {frame.name!r} around site {factor.name!r} is subsampled, but is not around every site: a "
                    f"bound that is no mean over particles cannot weigh a part of a datum; put all sites into the "
                    f"plate, run it whole, or use Trace_ELBO"
                )
    terms = factor_terms(model, guide)
    dims = frozenset(frame.dim for frame in common if frame.dim is not None)
    scores = dict(_scores_by_rule(guide_trace, guide, dims))
    scale = _shared_scale(factors)
    if scale == 1.0:
        return terms._replace(scores=scores)
    return terms._replace(log_weight=terms.log_weight / scale, scores=scores, scale=scale)


def fold(terms: ParticleTerms, alpha: float) -> tuple[Tensor, Tensor]:
    """Return the bound of order ``alpha`` and a surrogate whose gradient estimates that of the bound's expectation.

    The score of a site multiplies the whole bound of its datum. ``vimco`` takes from it what the other particles say
    of the bound; ``stl`` takes from a pathwise site's own density a multiple of its score, whose mean is zero, such
    that nothing is left where all weights are equal; ``dreg`` replaces that density's part by a second path.

    Source:
        G. Tucker et al., "Doubly Reparameterized Gradient Estimators for Monte Carlo Objectives" (2018), eq. 8 and
        appendix; G. Roeder et al., "Sticking the Landing" (2017); A. Mnih, D. Rezende (2016).
    """
    value = bound(terms.log_weight, alpha)
    surrogate = value
    if terms.score.requires_grad:
        surrogate = surrogate + terms.score.sum(0) * value.detach()
    scores = terms.scores
    if "vimco" in scores:
        surrogate = surrogate - (scores["vimco"] * leave_one_out(terms.log_weight, alpha)).sum(0)
    if "stl" in scores or "dreg" in scores:
        shares = normalized_weights(terms.log_weight, alpha)
        if "stl" in scores:
            surrogate = surrogate - ((shares - 1.0 / shares.shape[0]) * scores["stl"]).sum(0)
        if "dreg" in scores:
            weigh_paths(alpha + (1.0 - alpha) * shares)
    return value, surrogate


def _scores_by_rule(
    guide_trace: Trace, guide: Mapping[str, Factor], dims: frozenset[int]
) -> Iterator[tuple[str, Tensor]]:
    """Yield each low-variance rule with the sum of its sites' own scores: what has no mean, and no value to report."""
    for rule in ("vimco", "stl", "dreg"):
        asked = [factor for name, factor in guide.items() if guide_trace.nodes[name].infer.get("gradient") == rule]
        if asked:
            yield rule, _total(_own_score(factor, dims) for factor in asked)


def _own_score(factor: Factor, dims: frozenset[int]) -> Tensor:
    if factor.score is not None:
        return sum_to_dims(factor.score, dims)
    # The density less the density along the path: its value is 0, its gradient that of the density at a fixed draw.
    direct = factor.log_prob - factor.entropy
    return sum_to_dims(direct * factor.scale, dims)


def _total(tensors: Iterable[Tensor]) -> Tensor:
    first, *others = tensors
    return sum(others, first)


def _shared_scale(factors: list[Factor]) -> float:
    """Return the handlers' scale where every site has the same one: it then multiplies the datum, not a part of it."""
    scales = [factor.scale for factor in factors]
    first = scales[0] if scales else 1.0
    if isinstance(first, float) and all(isinstance(scale, float) and scale == first for scale in scales):
        return first
    return 1.0
