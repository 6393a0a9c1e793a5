"""Which costs a draw has had a hand in: those that it enters, directly or through the draws that depend on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, final

import torch
from torch import Tensor

from aleator.infer import Factor
from aleator.infer.structure import SITE_STRUCTURE
from aleator_svi_elbo.rao_blackwell import Factors, Frames, cost_of, shared_costs

if TYPE_CHECKING:
    from aleator.sites import Site
    from aleator.trace import Trace

__all__ = ["DownstreamCosts", "reached_terms"]


@final
class DownstreamCosts:
    """Multiply the score of a draw by the costs downstream of it, as far as the plates allow.

    A cost that neither the draw nor a draw that depends on it enters is, given all that was drawn before, independent
    of the draw, and the expectation of a score is zero (Schulman et al. 2015, section 3.1). What a draw reaches was
    found once for the structure of the programs, and stands in the stash of the guide's sites.

    Args:
        guide_trace: a run of the guide whose sites are annotated with ``SITE_STRUCTURE``.
    """

    def __init__(self, guide_trace: Trace) -> None:
        self._sites = guide_trace.nodes

    def __call__(self, model: Factors, guide: Factors, common: Frames) -> Callable[[Factor], Tensor | float]:
        """Return the function from a factor of the guide to what its score is multiplied by."""
        model_costs = [(name, factor.frames, cost_of(factor, 1.0, common)) for name, factor in model.items()]
        guide_costs = [(name, factor.frames, cost_of(factor, -1.0, common)) for name, factor in guide.items()]

        def downstream(factor: Factor) -> Tensor | float:
            reached = self._sites[factor.name].stash[SITE_STRUCTURE].reaches
            pieces: dict[Frames, list[Tensor]] = {}
            # In the order of the run, not of a set: sums are the same bit for bit in every process.
            for costs, names in ((model_costs, reached.model), (guide_costs, reached.guide)):
                for name, frames, cost in costs:
                    if name in names:
                        pieces.setdefault(frames, []).append(cost)
            return shared_costs({frames: _sum(found) for frames, found in pieces.items()}, factor.frames)

        return downstream


def reached_terms(site: Site, model_trace: Trace, guide_trace: Trace) -> Iterator[str]:
    """Name the terms that the score of a guide's site is multiplied by, in the order of the runs."""
    reached = site.stash[SITE_STRUCTURE].reaches
    turns = {frame.name: frame.counter for frame in site.frames if frame.dim is None}
    for form, trace, names in (("log p", model_trace, reached.model), ("log q", guide_trace, reached.guide)):
        for name, other in trace.nodes.items():
            loops = (frame for frame in other.frames if frame.dim is None)
            if name in names and all(turns.get(frame.name, frame.counter) == frame.counter for frame in loops):
                yield f"{form}({name})"


def _sum(pieces: list[Tensor]) -> Tensor:
    """Add tensors of one plate set: by one kernel where they have one shape."""
    first = pieces[0]
    if len(pieces) > 2 and all(piece.shape == first.shape and piece.dtype is first.dtype for piece in pieces):
        return torch.stack(pieces).sum(0)
    total = first
    for piece in pieces[1:]:
        total = total + piece
    return total
