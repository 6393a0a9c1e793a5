"""The logistic normal distribution on the simplex."""

from __future__ import annotations

from typing import final

from torch import distributions as torch_distributions
from torch.distributions.transforms import StickBreakingTransform

from aleator.distributions.arguments import Argument
from aleator.distributions.normal import Normal
from aleator.distributions.transformed import TransformedDistribution

__all__ = ["LogisticNormal"]


@final
class LogisticNormal(TransformedDistribution, torch_distributions.LogisticNormal):
    """The distribution on the simplex of a normal vector broken like a stick; ``K - 1`` normals give ``K`` corners."""

    def __init__(self, loc: Argument, scale: Argument, validate_args: bool | None = None) -> None:
        base = Normal(loc, scale, validate_args)
        if not base.batch_shape:
            base = base.expand((1,))
        TransformedDistribution.__init__(self, base, StickBreakingTransform(), base._validate_args)
