"""Which costs a score-function site answers for: those of the plate elements that it shares."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, final

from torch import Tensor

from aleator.infer import Factor
from aleator_svi_elbo.summation import sum_to_dims

if TYPE_CHECKING:
    from aleator.sites import PlateFrame

__all__ = ["Costs", "ScoreWeights", "all_costs", "cost_of", "shared_costs"]

Frames = frozenset["PlateFrame"]
Factors = Mapping[str, Factor]
ScoreWeights = Callable[[Factors, Factors, Frames], Callable[[Factor], "Tensor | float"]]
"""From the factors of the model, those of the guide and the plates common to all: what a site's score is multiplied by,
over the tensor dims of the site's plates, the scale of the common ones not applied."""


@final
class Costs:
    """Detached log p - log q of sites, gathered by the plates around them.

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
        cost = cost_of(factor, sign, self._common)
        known = self._by_frames.get(factor.frames)
        self._by_frames[factor.frames] = cost if known is None else known + cost

    def of(self, factor: Factor) -> Tensor | float:
        """Return the costs that a draw may have caused, over the tensor dims of the draw's plates."""
        return shared_costs(self._by_frames, factor.frames)


def all_costs(model: Factors, guide: Factors, common: Frames) -> Callable[[Factor], Tensor | float]:
    """Multiply each score by the costs of all sites, as far as the plates allow (Ranganath et al. 2014, eq. 6)."""
    costs = Costs(common)
    for factor in model.values():
        costs.add(factor, 1.0)
    for factor in guide.values():
        costs.add(factor, -1.0)
    return costs.of


def cost_of(factor: Factor, sign: float, common: Frames) -> Tensor:
    """Return a factor's term of the objective, detached and scaled by all but the common plates."""
    scale: Any = factor.scale * sign
    for frame in factor.frames:
        if frame.size != frame.full_size and frame not in common:
            scale = scale * frame.scale
    cost = factor.log_prob.detach()
    return cost if isinstance(scale, float) and scale == 1.0 else cost * scale


def shared_costs(costs: Mapping[Frames, Tensor], frames: Frames) -> Tensor | float:
    """Sum costs by plates to the plates around a draw; costs of other turns of its loops are left out."""
    turns = {frame.name: frame.counter for frame in frames if frame.dim is None}
    total: Tensor | float = 0.0
    for around, cost in costs.items():
        if any(turns.get(frame.name, frame.counter) != frame.counter for frame in around if frame.dim is None):
            continue
        # By plate, not by dim: two plates may use one dim in turn, and their elements have nothing in common.
        shared = frozenset(frame.dim for frame in around & frames if frame.dim is not None)
        part = sum_to_dims(cost, shared)
        total = part if isinstance(total, float) else total + part
    return total
