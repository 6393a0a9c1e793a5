"""The terms of one particle: its log weight, and a surrogate whose gradient is unbiased."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any, NamedTuple, final

import torch
from torch import Tensor

from aleator.infer import Factor, density
from aleator.scoring import is_deterministic
from aleator_svi_elbo.rao_blackwell import ScoreWeights, all_costs
from aleator_svi_elbo.summation import sum_to_dims

if TYPE_CHECKING:
    from aleator.sites import PlateFrame
    from aleator.trace import Trace

__all__ = [
    "MeanTerms",
    "ParticleTerms",
    "SiteTerms",
    "common_plates",
    "common_plates_of_traces",
    "factor_terms",
    "terms_by_side",
    "trace_terms",
]

Frames = frozenset["PlateFrame"]


class ParticleTerms(NamedTuple):
    """What one particle contributes, over the plates common to all sites, their scale not applied.

    Attributes:
        log_weight: log p - log q, with the pathwise graph attached.
        surrogate: this particle's own, Rao-Blackwellized.
        score: the sum of log q of score-function sites, else 0.
        sites: each site's term under ``"elbo/<site>"``, summed and detached; diagnostics, which may be left out.
        updates: the next values of the run's buffers, as this particle sees them; the particles' are averaged.
        scores: what an estimator's own gradient rules need, by rule; stacked like the rest, and read by ``reduce``.
        scale: what multiplies the whole bound beside the scale of ``plates``; the same for all particles.
        plates: the plates whose dims the terms keep, and whose scale the driver applies; ``None`` for those that are
            common to all sites, which the driver then looks for.
    """

    log_weight: Tensor
    surrogate: Tensor
    score: Tensor
    sites: Mapping[str, Tensor] = {}
    updates: Mapping[str, Tensor] = {}
    scores: Mapping[str, Tensor] = {}
    scale: float = 1.0
    plates: Frames | None = None


@final
class SiteTerms(Mapping[str, Tensor]):
    """Each site's term of the objective under ``elbo/<site>``, detached; put together only when somebody looks."""

    __slots__ = ("_guide", "_model", "_names", "_scale")

    def __init__(self, model: Mapping[str, Tensor], guide: Mapping[str, Tensor], scale: float) -> None:
        self._model = model
        self._guide = guide
        self._scale = scale
        self._names = [f"elbo/{name}" for name in dict.fromkeys([*model, *guide])]

    def __getitem__(self, key: str) -> Tensor:
        name = key.removeprefix("elbo/")
        if key not in self._names:
            raise KeyError(key)
        log_p, log_q = self._model.get(name), self._guide.get(name)
        total = (0.0 if log_p is None else log_p.detach().sum()) - (0.0 if log_q is None else log_q.detach().sum())
        return total * self._scale  # type: ignore[return-value]  # one of the two is a tensor

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)

    def sides(self) -> Iterator[tuple[str, str, Tensor]]:
        """Yield site, side (``model`` or ``guide``) and the log-probability there, summed."""
        for side, terms in (("model", self._model), ("guide", self._guide)):
            for name, term in terms.items():
                yield name, side, term.detach().sum()


@final
class MeanTerms(Mapping[str, Tensor]):
    """The mean of several particles' terms by site; computed only when somebody looks.

    Args:
        parts: the terms of the particles.
        count: what to divide by.
        is_whole: whether all particles are in ``parts``, not one that was looked at on its own.
    """

    __slots__ = ("_count", "_parts", "is_whole")

    def __init__(self, parts: Sequence[Mapping[str, Tensor]], count: int, is_whole: bool = True) -> None:
        self._parts = parts
        self._count = count
        self.is_whole = is_whole

    def __getitem__(self, key: str) -> Tensor:
        found = [part[key] for part in self._parts if key in part]
        if not found:
            raise KeyError(key)
        return torch.stack(found).sum(0) / self._count

    def __iter__(self) -> Iterator[str]:
        return iter(dict.fromkeys(key for part in self._parts for key in part))

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def sides(self) -> Iterator[tuple[str, str, Tensor]]:
        """Yield the sides of every particle in turn."""
        for part in self._parts:
            yield from terms_by_side(part)


def terms_by_side(aux: Mapping[str, Tensor]) -> Iterator[tuple[str, str, Tensor]]:
    """Yield site, side and term of an estimate's diagnostics; terms that do not say their side belong to both."""
    if isinstance(aux, (SiteTerms, MeanTerms)):
        yield from aux.sides()
    else:
        for key, term in aux.items():
            yield key.removeprefix("elbo/"), "model or guide", term


def trace_terms(model_trace: Trace, guide_trace: Trace) -> ParticleTerms:
    """Return the terms of a model's run that was replayed against a guide's run.

    The gradient of the surrogate's expectation is that of the log weight's: pathwise sites are differentiated directly;
    the score of any other site is multiplied by the costs it may have caused (Ranganath et al. 2014, eq. 6, by plates).
    """
    return factor_terms(density(model_trace), density(guide_trace))


def factor_terms(
    model: Mapping[str, Factor], guide: Mapping[str, Factor], weights: ScoreWeights = all_costs
) -> ParticleTerms:
    """Return the same from the densities of the two runs, for who has looked at them already.

    ``weights`` finds what each score is multiplied by.
    """
    common = common_plates([*model.values(), *guide.values()])
    dims = frozenset(frame.dim for frame in common if frame.dim is not None)
    log_p = {name: _summed(factor, common, dims) for name, factor in model.items()}
    log_q = {name: _summed(factor, common, dims, _differentiated(factor)) for name, factor in guide.items()}
    log_weight = _total(log_p.values()) - _total(log_q.values())
    scores = [factor for factor in guide.values() if factor.score is not None]
    sites = SiteTerms(log_p, log_q, prod(frame.scale for frame in common))
    if not scores:
        return ParticleTerms(log_weight, log_weight, log_weight.new_zeros(()), sites, plates=common)
    weight_of = weights(model, guide, common)
    own, terms = [], []
    for factor in scores:
        score = factor.score
        assert score is not None
        own.append(sum_to_dims(score, dims))
        terms.append(sum_to_dims(score * weight_of(factor), dims))
        # log q of a score site enters the value, and has no gradient of its own.
        terms.append(log_q[factor.name])
    total = _total(terms)
    surrogate = log_weight + (total - total.detach())
    return ParticleTerms(log_weight, surrogate, _total(own), sites, plates=common)


def common_plates(factors: Iterable[Factor]) -> Frames:
    """Return the vectorized plates that are around every site: what is independent of each other in the objective."""
    common: set[PlateFrame] | None = None
    for factor in factors:
        if common is None:
            common = {frame for frame in factor.frames if frame.dim is not None}
        elif common:
            common &= factor.frames
        if not common:
            break
    return frozenset(common or ())


def common_plates_of_traces(model_trace: Trace, guide_trace: Trace) -> Frames:
    """Return the same from traces that are not scored."""
    common: set[PlateFrame] | None = None
    for trace in (model_trace, guide_trace):
        for site in trace.nodes.values():
            if site.type != "sample" or is_deterministic(site):
                continue
            common = set(site.frames) if common is None else common.intersection(site.frames)
            if not common:
                return frozenset()
    return frozenset(frame for frame in common or () if frame.dim is not None)


def _differentiated(factor: Factor) -> Tensor:
    """Return log q with the graph that its gradient takes: where the draw is pathwise, that of the entropy part."""
    if factor.score is not None:
        return factor.log_prob
    assert isinstance(factor.entropy, Tensor)  # a float only where there is a score
    return factor.entropy


def _summed(factor: Factor, common: Frames, dims: frozenset[int], log_prob: Tensor | None = None) -> Tensor:
    """Scale a factor by all but the common plates, and sum it over all but their dims.

    ``log_prob`` is given where a number with another graph stands for the factor's own.
    """
    scale: Any = factor.scale
    for frame in factor.frames:
        if frame.size != frame.full_size and frame not in common:
            scale = scale * frame.scale
    if log_prob is None:
        log_prob = factor.log_prob
    if not (isinstance(scale, float) and scale == 1.0):
        log_prob = log_prob * scale
    return sum_to_dims(log_prob, dims)


def _total(terms: Iterable[Tensor]) -> Tensor:
    """Add the terms up: scalars, as they are without common plates, by one kernel."""
    pieces = list(terms)
    if not pieces:
        return torch.zeros(())
    if len(pieces) > 2 and all(piece.dim() == 0 and piece.dtype is pieces[0].dtype for piece in pieces):
        return torch.stack(pieces).sum()
    total = pieces[0]
    for piece in pieces[1:]:
        total = total + piece
    return total
