"""Traces made from columns: one per draw, when somebody reads it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn, final, overload

import torch
from torch import Tensor

from aleator.scoring import DETERMINISTIC
from aleator.sites import Site
from aleator.trace import Trace
from aleator_posterior.columns import Columns, Entry

__all__ = ["DrawnFrom", "RebuiltTraces"]


@final
class DrawnFrom:
    """What stands in a rebuilt trace for a site's distribution: its shapes alone, for the distribution is not kept.

    Args:
        name: the site's name.
        batch_shape, event_shape: the distribution's.
    """

    __slots__ = ("batch_shape", "event_shape", "name")

    has_rsample = False
    has_enumerate_support = False

    def __init__(self, name: str, batch_shape: torch.Size, event_shape: torch.Size) -> None:
        self.name = name
        self.batch_shape = batch_shape
        self.event_shape = event_shape

    def log_prob(self, value: Tensor) -> NoReturn:
        """Raise ``ValueError``: a posterior keeps values, no distributions."""
        raise ValueError(
            f"a posterior keeps the values of site {self.name!r}, not its distribution; "
            f"to score a draw, trace the model under handlers.replay with the draw's trace"
        )

    def __call__(self, *args: object, **kwargs: object) -> NoReturn:
        """Raise ``ValueError``: a posterior keeps values, no distributions."""
        raise ValueError(f"a posterior keeps the values of site {self.name!r}, not its distribution; run the model")

    def __repr__(self) -> str:
        return f"DrawnFrom({self.name!r}, {tuple(self.batch_shape)}, {tuple(self.event_shape)})"


@final
class RebuiltTraces(Sequence[Trace]):
    """One trace per draw, each made anew at every reading.

    A trace has the draw's sites in the order in which they were first met, minibatches of plates among them, so that
    replaying it gives local latents their own data. Inputs, parameters and factors are not kept, and a site's ``fn``
    tells shapes alone.
    """

    __slots__ = ("_places", "_subsamples", "_values")

    def __init__(self, values: Columns, subsamples: Columns, places: range) -> None:
        self._values = values
        self._subsamples = subsamples
        self._places = places

    def __len__(self) -> int:
        return len(self._places)

    @overload
    def __getitem__(self, place: int) -> Trace: ...
    @overload
    def __getitem__(self, place: slice) -> RebuiltTraces: ...
    def __getitem__(self, place: int | slice) -> Trace | RebuiltTraces:
        if isinstance(place, slice):
            return RebuiltTraces(self._values, self._subsamples, self._places[place])
        number = self._places[place]
        trace = Trace()
        for table in (self._subsamples, self._values):
            for name in table:
                entry = table.column(name).entry(number)
                if entry is not None:
                    trace.add(_make_site(name, entry))
        return trace

    def __repr__(self) -> str:
        return f"RebuiltTraces({len(self)} traces of {', '.join(self._values)})"


def _make_site(name: str, entry: Entry) -> Site:
    value, about = entry.value, entry.description
    if about.role == "return":
        return Site("return", name, value=value)
    if about.role == "subsample":
        site = Site("subsample", name, value=value)
    else:
        fn = DrawnFrom(name, *about.split(value.shape))
        site = Site("sample", name, fn, value=value, is_observed=about.role in ("observed", "deterministic"))
    if about.role == "deterministic":
        site.stash[DETERMINISTIC] = True
    site.frames = about.frames
    site.done = True
    return site
