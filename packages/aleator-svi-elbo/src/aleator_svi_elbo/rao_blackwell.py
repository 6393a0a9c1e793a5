"""Which costs a score-function site answers for: those of the plate elements that it shares."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, final

from torch import Tensor

from aleator.infer import Factor
from aleator_svi_elbo.summation import sum_to_dims

if TYPE_CHECKING:
    from aleator.sites import PlateFrame

__all__ = ["Costs"]

Frames = frozenset["PlateFrame"]


@final
class Costs:
    """Detached log p - log q of all sites, gathered by the plates around them.

    Elements of a plate are independent given what is outside it, so a draw in one element cannot have caused a cost in
    another: slices of shared plates are never mixed, for tensor dims as for turns of a loop. Plates that the draw is
    not in are summed.

    Args:
        common: the plates around all sites; their scale is applied later, by the driver.
    """

    def __init__(self, common: Frames) -> None:
        self._common = common
        self._by_frames: dict[Frames, Tensor] = {}

    def add(self, factor: Factor, sign: float) -> None:
        """Add a factor's term to the costs of its plates."""
        scale: Any = factor.scale * sign
        for frame in factor.frames:
            if frame.size != frame.full_size and frame not in self._common:
                scale = scale * frame.scale
        cost = factor.log_prob.detach() * scale
        known = self._by_frames.get(factor.frames)
        self._by_frames[factor.frames] = cost if known is None else known + cost

    def of(self, factor: Factor) -> Tensor | float:
        """Return the costs that a draw may have caused, over the tensor dims of the draw's plates."""
        turns = {frame.name: frame.counter for frame in factor.frames if frame.dim is None}
        total: Tensor | float = 0.0
        for frames, cost in self._by_frames.items():
            if any(turns.get(frame.name, frame.counter) != frame.counter for frame in frames if frame.dim is None):
                continue
            # By plate, not by dim: two plates may use one dim in turn, and their elements have nothing in common.
            shared = frozenset(frame.dim for frame in frames & factor.frames if frame.dim is not None)
            total = total + sum_to_dims(cost, shared)
        return total
