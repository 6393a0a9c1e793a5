"""Decide whether programs run for many draws at once, and turn such runs into columns."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple, final

import torch
from torch import Tensor

from aleator.trace import Trace
from aleator_importance.proposals import Batch, Pair, PairOutline, Programs, check_weights
from aleator_posterior import Draws
from aleator_posterior.columns import Columns, DenseColumn

__all__ = ["Attempt", "BatchColumns", "attempt", "chunk_size_for"]

CHUNK_BYTES = 64 * 2**20
# Values, log-probabilities, and what a density makes on the way to one.
COPIES = 6


class Attempt(NamedTuple):
    """What came of a run for many draws.

    Attributes:
        batch: the run; ``None`` where it does not hold.
        reason: why not.
    """

    batch: Batch | None
    reason: str


def attempt(programs: Programs, count: int, outline: PairOutline) -> Attempt:
    """Run programs for many draws, and compare two of the draws with runs of their own.

    The two are that of the largest weight, and the last: where draws are mixed up, they do not come out the same. Where
    a weight is no number, its draw is one of the two.

    Raises:
        NonFiniteError: naming the sites, where a weight is NaN or plus infinity in a run of its own too.
    """
    try:
        batch = programs.trace_many(count, outline)
        for place in _places(batch.log_weights):
            found = programs.difference(batch, place)
            if found is not None:
                return Attempt(None, found)
    except Exception as error:  # noqa: BLE001  # a program for one draw may raise anything when it meets many
        return Attempt(None, _first_line(error))
    check_weights(batch.pair, batch.log_weights)
    return Attempt(batch, "")


def _places(log_weights: Tensor) -> Iterable[int]:
    largest = int(log_weights.argmax())  # which takes NaN for the largest
    return dict.fromkeys([largest, len(log_weights) - 1])


def _first_line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return text[0] if text else type(error).__name__


def chunk_size_for(pair: Pair) -> int:
    """Return how many draws to run at once, so that what a run makes stays within about 64 MiB."""
    size = 8
    for trace in pair:
        for site in trace.nodes.values() if trace is not None else ():
            if site.type == "sample" and isinstance(site.value, Tensor):
                whole = torch.Size((*getattr(site.fn, "batch_shape", ()), *getattr(site.fn, "event_shape", ())))
                size += max(site.value.numel(), whole.numel()) * site.value.element_size()
    return max(1, CHUNK_BYTES // (COPIES * size))


@final
class BatchColumns:
    """Turns batches into draws; data that all draws share are copied once for all batches."""

    __slots__ = ("_kept", "_outline")

    def __init__(self, outline: PairOutline) -> None:
        self._outline = outline.model
        self._kept: dict[str, Tensor] = {}

    def draws(self, batch: Batch) -> Draws:
        """Return the draws of a batch: everything copied out of the programs' own tensors."""
        trace, count = batch.pair.model_trace, len(batch.log_weights)
        values: dict[str, DenseColumn] = {}
        subsamples: dict[str, DenseColumn] = {}
        for name, rows in batch.rows.items():
            about = self._outline.sites[name].description
            column = self._shared(name, rows) if count > 1 and rows.stride(0) == 0 else _owned(trace, name, rows)
            (subsamples if about.role == "subsample" else values)[name] = DenseColumn(column, about)
        return Draws.of_columns(
            Columns(values, count),
            Columns(self._likelihoods(batch), count),
            Columns(subsamples, count),
            batch.log_weights.detach(),
            torch.zeros(count, dtype=torch.long),
        )

    def _likelihoods(self, batch: Batch) -> Mapping[str, DenseColumn]:
        found = {}
        for name, log_prob in batch.log_probs.items():
            site = batch.pair.model_trace.nodes[name]
            if site.is_observed and name in batch.rows:
                found[name] = DenseColumn(log_prob.contiguous(), self._outline.sites[name].description)
        return found

    def _shared(self, name: str, rows: Tensor) -> Tensor:
        """Return shared data as a view of one copy."""
        kept = self._kept.get(name)
        if kept is None or kept.shape != rows.shape[1:] or not torch.equal(kept, rows[0]):
            kept = self._kept[name] = rows[0].clone()
        return kept.expand(rows.shape)


def _owned(trace: Trace, name: str, rows: Tensor) -> Tensor:
    """Return rows that nobody else writes into: what a distribution drew is nobody's, anything else is copied."""
    return rows.contiguous() if name != "_RETURN" and not trace.nodes[name].is_observed else rows.clone()
