"""Gather draws, trace by trace or batch by batch."""

from __future__ import annotations

from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from aleator.distributions import Unit
from aleator.scoring import is_deterministic, score_site
from aleator.sites import Site
from aleator.trace import Trace
from aleator_posterior.columns import Columns, Entry, make_column
from aleator_posterior.draws import Draws, as_log_weights
from aleator_posterior.site_description import SiteDescription

__all__ = ["DrawsBuilder"]


class _Source(NamedTuple):
    """Where a kept copy of data came from: held, so that its memory cannot be another tensor's meanwhile."""

    tensor: Tensor
    version: int
    kept: Tensor


@final
class DrawsBuilder:
    """Copy traces into columns as they come; the traces themselves are let go, and what they hold with them.

    Args:
        log_likelihoods: whether to score the observed sites of each trace, masked and not scaled, per datum.

    Example:
        >>> import aleator
        >>> import aleator.distributions as dist
        >>> from aleator import handlers
        >>> from aleator_posterior import DrawsBuilder
        >>> def model():
        ...     return aleator.sample("z", dist.Normal(0.0, 1.0))
        >>> builder = DrawsBuilder()
        >>> for _ in range(3):
        ...     builder.append(handlers.trace(model).get_trace())
        >>> builder.build().values["z"].shape
        torch.Size([3])
    """

    def __init__(self, log_likelihoods: bool = True) -> None:
        self.log_likelihoods = log_likelihoods
        self._parts: list[Draws] = []
        self._begin_rows()

    def _begin_rows(self) -> None:
        self._values: dict[str, list[Entry]] = {}
        self._scores: dict[str, list[Entry]] = {}
        self._subsamples: dict[str, list[Entry]] = {}
        self._weights: list[Tensor] = []
        self._chains: list[int] = []
        self._sources: dict[str, _Source] = {}

    def append(self, trace: Trace, log_weight: Tensor | float = 0.0, chain_id: int = 0) -> None:
        """Add the draw of one trace; nothing is added where this raises.

        Kept are latent, observed and deterministic values, minibatches, and the result where it is a tensor or number.

        Args:
            trace: the record of a run.
            log_weight: the draw's log weight, without dims.
            chain_id: the chain that it is from.

        Raises:
            TypeError: naming a site whose value is not a tensor.
            ValueError: a log weight with dims, or a site that cannot score its value.
        """
        weight = as_log_weights(log_weight)
        if weight.dim():
            raise ValueError(f"a trace has one log weight, but found shape {tuple(weight.shape)}; sum it over the data")
        with torch.no_grad():
            values, scores, subsamples = self._read(trace)
        for table, row in ((self._values, values), (self._scores, scores), (self._subsamples, subsamples)):
            for name, entry in row.items():
                table.setdefault(name, []).append(entry)
        self._weights.append(weight)
        self._chains.append(chain_id)

    def extend(self, draws: Draws) -> None:
        """Add whole columns, as they are: tensors are taken over, not copied."""
        self._end_rows()
        self._parts.append(draws)

    def build(self) -> Draws:
        """Return everything gathered so far, in order."""
        self._end_rows()
        if len(self._parts) > 1:
            self._parts = [Draws.concatenate(self._parts)]
        return self._parts[0] if self._parts else Draws({})

    def _read(self, trace: Trace) -> tuple[dict[str, Entry], dict[str, Entry], dict[str, Entry]]:
        place = len(self._weights)
        values: dict[str, Entry] = {}
        scores: dict[str, Entry] = {}
        subsamples: dict[str, Entry] = {}
        for name, site in trace.nodes.items():
            if site.type == "return":
                if isinstance(site.value, (Tensor, float, int)):
                    values[name] = Entry(place, torch.as_tensor(site.value).detach().clone(), SiteDescription("return"))
            elif site.type == "subsample":
                subsamples[name] = self._keep(place, site)
            elif site.type == "sample" and not isinstance(site.fn, Unit):
                entry = values[name] = self._keep(place, site)
                if self.log_likelihoods and site.is_observed and not is_deterministic(site):
                    scores[name] = Entry(place, score_site(site)[1].clone(), entry.description)
        return values, scores, subsamples

    def _keep(self, place: int, site: Site) -> Entry:
        """Copy a site's value, or point to the copy of the draw before where both have the same data."""
        about = SiteDescription.of(site)
        value = _as_tensor(site.name, site.value)
        if not about.is_data or value.is_inference():
            return Entry(place, value.clone(), about)
        source = self._sources.get(site.name)
        if source is None or not _is_unchanged(source, value):
            source = self._sources[site.name] = _Source(value, value._version, value.clone())
        return Entry(place, source.kept, about)

    def _end_rows(self) -> None:
        count = len(self._weights)
        if count == 0:
            return
        device = self._weights[0].device
        values, scores, subsamples = (
            Columns({name: make_column(entries, count) for name, entries in table.items()}, count)
            for table in (self._values, self._scores, self._subsamples)
        )
        weights = torch.stack([weight.to(device) for weight in self._weights])
        self._parts.append(
            Draws.of_columns(values, scores, subsamples, weights, torch.tensor(self._chains, device="cpu"))
        )
        self._begin_rows()


def _as_tensor(name: str, value: Any) -> Tensor:  # noqa: ANN401  # a site's value has any type
    if not isinstance(value, (Tensor, float, int)):
        raise TypeError(
            f"site {name!r} has a value of type {type(value).__name__}, but a posterior keeps tensors; "
            f"hide the site from it with handlers.block"
        )
    return torch.as_tensor(value).detach()


def _is_unchanged(source: _Source, value: Tensor) -> bool:
    """Whether a value is, in memory and in time, the one that was copied."""
    return (
        value.data_ptr() == source.tensor.data_ptr()
        and value.shape == source.tensor.shape
        and value.stride() == source.tensor.stride()
        and value.dtype == source.tensor.dtype
        and value.device == source.tensor.device
        and value._version == source.version
        and source.tensor._version == source.version
    )
