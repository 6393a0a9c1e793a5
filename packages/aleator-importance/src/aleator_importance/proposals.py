"""Run model and guide as a pair, for one draw or for many at once, and weigh the draws."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from aleator.errors import NonFiniteError, UnsupportedModelError
from aleator.handlers.replay import ReplayMessenger
from aleator.handlers.trace import TraceMessenger
from aleator.infer.checks import check_match
from aleator.messenger import Messenger
from aleator.runtime import Run
from aleator.scoring import is_deterministic, plate_scale, score_site
from aleator.sites import Site
from aleator.subsampling import SubsampleIndices
from aleator.trace import Trace
from aleator_posterior.batched_runs import Outline, disagreement, log_probs_of, outline_of, rows_of, trace_batched
from aleator_posterior.given_values import GivenValues
from aleator_posterior.host_reads import HostReads, draws_read_by

__all__ = ["Batch", "Pair", "PairOutline", "Programs", "check_weights", "log_weight_of", "outline_pair"]


class Pair(NamedTuple):
    """A run of the model, and the guide's run that it was replayed against (``None``: the prior proposes)."""

    model_trace: Trace
    guide_trace: Trace | None


class PairOutline(NamedTuple):
    """What a pair for one draw looks like."""

    model: Outline
    guide: Outline | None

    @property
    def nesting(self) -> int:
        """How many dims plates take in either program."""
        return max(self.model.nesting, 0 if self.guide is None else self.guide.nesting)


class Batch(NamedTuple):
    """A pair for many draws, by draws.

    Attributes:
        pair: the runs.
        log_weights: shape ``(count,)``.
        rows: values of the model's sites, the draw's dim first.
        log_probs: of the model's sites, masked and not scaled, the draw's dim first.
        guide_rows, guide_log_probs: of the guide's sites; empty without a guide.
    """

    pair: Pair
    log_weights: Tensor
    rows: Mapping[str, Tensor]
    log_probs: Mapping[str, Tensor]
    guide_rows: Mapping[str, Tensor]
    guide_log_probs: Mapping[str, Tensor]


@final
class Programs:
    """A model, its guide, and their arguments: what is run again and again."""

    __slots__ = ("_minibatches", "args", "guide", "kwargs", "model")

    def __init__(
        self,
        model: Callable[..., Any],
        guide: Callable[..., Any] | None,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> None:
        self.model = model
        self.guide = guide
        self.args = args
        self.kwargs = kwargs
        self._minibatches: dict[str, Tensor] = {}

    def trace(self, given: Mapping[str, Tensor] | None = None, proposed: Mapping[str, Tensor] | None = None) -> Pair:
        """Run the pair for one draw.

        Args:
            given: values for the latent sites of the model (and of the guide, where ``proposed`` is left out).
            proposed: values for the latent sites of the guide.

        Raises:
            ModelGuideMismatchError, UnsupportedModelError: naming the site that does not fit.
        """
        guide_trace = None
        with Run(), _MinibatchGuard():
            if self.guide is not None:
                with ExitStack() as stack:
                    if given is not None:
                        stack.enter_context(GivenValues(given if proposed is None else proposed))
                    guide_trace = TraceMessenger()(self.guide).get_trace(*self.args, **self.kwargs)
            with ReplayMessenger(trace=guide_trace) if guide_trace is not None else GivenValues(given or {}):
                model_trace = TraceMessenger()(self.model).get_trace(*self.args, **self.kwargs)
            return self._checked(Pair(model_trace, guide_trace))

    def trace_many(self, count: int, outline: PairOutline) -> Batch:
        """Run the pair once for ``count`` draws, and weigh them.

        Raises:
            Exception: whatever programs that were written for one draw raise when they meet many.
        """
        nesting = outline.nesting
        guide_trace = None
        reads = HostReads()
        with Run(), _MinibatchGuard():
            around: list[Messenger] = []
            if self.guide is not None:
                guide_trace = trace_batched(reads.watch(self.guide), count, nesting, self.args, self.kwargs)
                around = [ReplayMessenger(trace=guide_trace)]
            model_trace = trace_batched(reads.watch(self.model), count, nesting, self.args, self.kwargs, around)
            pair = self._checked(Pair(model_trace, guide_trace))
            model = outline.model.at_nesting(nesting)
            rows = rows_of(model_trace, model, count)
            log_probs = log_probs_of(model_trace, model, count)
            guide_rows, guide_log_probs = {}, {}
            if outline.guide is not None and guide_trace is not None:
                guide = outline.guide.at_nesting(nesting)
                guide_rows = rows_of(guide_trace, guide, count)
                guide_log_probs = log_probs_of(guide_trace, guide, count)
        if reads.found:
            read = draws_read_by(self.model, self.guide, self.args, self.kwargs)
            if read:
                raise UnsupportedModelError(
                    f"they read drawn values on the host (if, item, tolist), which may steer them: {sorted(read)}"
                )
        log_weights = _weigh(pair, log_probs, guide_log_probs, count)
        return Batch(pair, log_weights, rows, log_probs, guide_rows, guide_log_probs)

    def difference(self, batch: Batch, place: int) -> str | None:
        """Tell what a draw of a batch has otherwise in a run of its own on the same values."""
        given, proposed = (
            {name: rows[name][place] for name in trace.stochastic_nodes} if trace is not None else {}
            for trace, rows in zip(batch.pair, (batch.rows, batch.guide_rows), strict=True)
        )
        looped = self.trace(given, proposed)
        found = disagreement(looped.model_trace, batch.rows, batch.log_probs, place)
        if found is None and looped.guide_trace is not None:
            found = disagreement(looped.guide_trace, batch.guide_rows, batch.guide_log_probs, place)
        return found

    def _checked(self, pair: Pair) -> Pair:
        for trace in pair:
            if trace is not None:
                self._check_minibatches(trace)
        if pair.guide_trace is not None:
            check_match(pair.model_trace, pair.guide_trace)
        return pair

    def _check_minibatches(self, trace: Trace) -> None:
        """Check that stated minibatches are the same in all runs, and that none is hidden."""
        for name, site in trace.nodes.items():
            if site.type == "subsample" and getattr(site.fn, "size", None) != len(site.value):
                first = self._minibatches.setdefault(name, site.value)
                if first is not site.value and not torch.equal(first, site.value):
                    raise UnsupportedModelError(_MINIBATCH.format(name=name, what="another minibatch in each run"))
            for frame in site.frames:
                if frame.size != frame.full_size and frame.name not in trace.nodes:
                    raise UnsupportedModelError(_MINIBATCH.format(name=frame.name, what="a minibatch that is hidden"))


_MINIBATCH = (
    "Importance: plate {name!r} has {what}; the weight of a draw would be as random as the minibatch, and the evidence "
    "biased: run on all data, or give the plate a fixed subsample= to weigh draws by that minibatch alone"
)


@final
class _MinibatchGuard(Messenger):
    """Refuses a plate that would draw a minibatch of its own."""

    def process_subsample(self, site: Site) -> None:
        """Look at a plate that nobody has given indices."""
        fn = site.fn
        if site.value is None and isinstance(fn, SubsampleIndices) and fn.subsample_size < fn.size:
            raise UnsupportedModelError(_MINIBATCH.format(name=site.name, what="a random minibatch"))


def outline_pair(pair: Pair) -> PairOutline:
    """Describe a pair for one draw."""
    return PairOutline(outline_of(pair.model_trace), None if pair.guide_trace is None else outline_of(pair.guide_trace))


def log_weight_of(pair: Pair) -> Tensor:
    """Return the log weight of a pair for one draw: scaled and masked ``log p - log q``.

    Without a guide the latent sites cancel, and what is left are data and factors.

    Raises:
        NonFiniteError: naming the sites, where it is NaN or plus infinity.
    """
    if pair.guide_trace is None:
        weight = pair.model_trace.log_prob_sum(_is_observed)
    else:
        weight = pair.model_trace.log_prob_sum() - pair.guide_trace.log_prob_sum()
    check_weights(pair, weight)
    return weight


def check_weights(pair: Pair, log_weights: Tensor) -> None:
    """Refuse log weights that are NaN or plus infinity.

    Raises:
        NonFiniteError: naming the sites.
    """
    if bool((torch.isnan(log_weights) | torch.isposinf(log_weights)).any()):
        _refuse(pair)


def _is_observed(name: str, site: Site) -> bool:
    return site.is_observed


def _weigh(pair: Pair, log_probs: Mapping[str, Tensor], guide_log_probs: Mapping[str, Tensor], count: int) -> Tensor:
    """Sum the terms of each draw; terms of one shape are added first, for a sum over few elements is a slow kernel."""
    by_shape: dict[torch.Size, Tensor] = {}
    for name, log_prob in log_probs.items():
        site = pair.model_trace.nodes[name]
        if pair.guide_trace is not None or site.is_observed:
            term, known = _scaled(site, log_prob), by_shape.get(log_prob.shape)
            by_shape[log_prob.shape] = term if known is None else known + term
    for name, log_prob in guide_log_probs.items():
        assert pair.guide_trace is not None
        term, known = _scaled(pair.guide_trace.nodes[name], log_prob), by_shape.get(log_prob.shape)
        by_shape[log_prob.shape] = -term if known is None else known - term
    if not by_shape:
        return torch.zeros(count)
    sums = [term.reshape(count, -1).sum(1) if term.dim() > 1 else term for term in by_shape.values()]
    return torch.stack(sums).sum(0) if len(sums) > 1 else sums[0].clone()


def _scaled(site: Site, log_prob: Tensor) -> Tensor:
    """Return a site's term by draw, with the scales of handlers and plates."""
    scale, by_plates = site.scale, plate_scale(site)
    if isinstance(scale, Tensor) and scale.dim():
        wide = log_prob.reshape(site.fn.batch_shape) * scale
        if wide.numel() != log_prob.numel():
            raise UnsupportedModelError(f"the scale of site {site.name!r} has shape {tuple(scale.shape)}")
        log_prob = wide.reshape(log_prob.shape)
    elif not isinstance(scale, float) or scale != 1.0:
        log_prob = log_prob * scale
    return log_prob if by_plates == 1.0 else log_prob * by_plates


def _refuse(pair: Pair) -> None:
    names = []
    for role, trace in (("model", pair.model_trace), ("guide", pair.guide_trace)):
        for name, site in trace.nodes.items() if trace is not None else ():
            if site.type != "sample" or is_deterministic(site):
                continue
            log_prob = score_site(site)[1]
            if bool((torch.isnan(log_prob) | torch.isinf(log_prob)).any()):
                names.append(f"{role} site {name!r}")
    raise NonFiniteError(
        f"Importance: a log weight is NaN or plus infinity; not finite are {', '.join(names) or 'sums of terms'}: look "
        f"for values outside of the model's support and for scales that reach 0"
    )
