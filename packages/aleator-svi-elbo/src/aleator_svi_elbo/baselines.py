"""Baselines: what is subtracted from the costs of a draw before they multiply its score.

A score has expectation zero, so that anything which does not depend on the draw may be subtracted from its costs: the
expected gradient stays, and its variance falls where the baseline is near the costs (A. Mnih, K. Gregor, "Neural
Variational Inference and Learning in Belief Networks", 2014, section 2.3).
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, final

import torch
from torch import Tensor
from torch.nn import Module
from torch.utils._pytree import tree_map_only

from aleator import get_param_store
from aleator.errors import AleatorWarning, UnsupportedModelError
from aleator.infer import Factor
from aleator_svi_elbo.baseline_options import BaselineOptions, baseline_options, baseline_wish
from aleator_svi_elbo.decaying_average import DecayingAverage
from aleator_svi_elbo.rao_blackwell import Factors, Frames, ScoreWeights
from aleator_svi_elbo.summation import sum_to_dims
from aleator_svi_elbo.tracing import PARTICLES

if TYPE_CHECKING:
    from aleator.trace import Trace

__all__ = ["Baselines", "misplaced_baselines", "refuse_baselines", "site_baselines"]


@final
class Baselines:
    """The baselines of one particle: subtracts them from the costs, and keeps what training and the next step need.

    Costs are counted here with the scales of all plates, as they enter the objective, so that a baseline means the same
    wherever the driver applies a scale.

    Args:
        weights: what scores are multiplied by without a baseline.
        options: the options of the sites that have a baseline, by name.

    Attributes:
        loss: the squared distances between costs and trained baselines, over the plates common to all sites; the
            driver applies their scale later, so it is divided out. ``None`` where nothing is trained.
        updates: the next averages, by the name of their buffer.
    """

    def __init__(self, weights: ScoreWeights, options: Mapping[str, BaselineOptions]) -> None:
        self._weights = weights
        self._options = options
        self.loss: Tensor | None = None
        self.updates: dict[str, Tensor] = {}

    def __call__(self, model: Factors, guide: Factors, common: Frames) -> Callable[[Factor], Tensor | float]:
        """Return the function from a factor of the guide to what its score is multiplied by."""
        weight_of = self._weights(model, guide, common)
        scale = math.prod(frame.scale for frame in common)
        dims = frozenset(frame.dim for frame in common if frame.dim is not None)

        def weight(factor: Factor) -> Tensor | float:
            cost = weight_of(factor)
            options = self._options.get(factor.name)
            if options is None:
                return cost
            assert isinstance(cost, Tensor)  # a site's own log q is among its costs
            full = cost if scale == 1.0 else cost * scale
            rest = self._subtracted(options, factor, full, scale, dims)
            return rest if scale == 1.0 else rest / scale

        return weight

    def _subtracted(
        self, options: BaselineOptions, factor: Factor, cost: Tensor, scale: float, dims: frozenset[int]
    ) -> Tensor:
        rest = cost
        if options.use_decaying_avg_baseline:
            average = DecayingAverage(factor, options.baseline_beta)
            rest = rest - average.value(cost)
            self.updates[average.buffer] = average.after(cost)
        value = _stated(options)
        if value is None:
            return rest
        if isinstance(value, Tensor):
            value = _fitted(value, cost, factor)
            if value.requires_grad:
                self._add_loss(sum_to_dims((rest - value) ** 2, dims), scale)
            value = value.detach()
        return rest - value

    def _add_loss(self, distance: Tensor, scale: float) -> None:
        distance = distance if scale == 1.0 else distance / scale
        self.loss = distance if self.loss is None else self.loss + distance


def misplaced_baselines(model_trace: Trace, guide_trace: Trace) -> Iterator[tuple[str, str]]:
    """Yield each site of the model that asks for a baseline of its own, with what is wrong and what to do."""
    for name, site in model_trace.nodes.items():
        if site.type != "sample" or not baseline_wish(site):
            continue
        if site.is_observed:
            yield name, f"observed site {name!r} has a baseline, but data has no score; take the baseline away"
        elif name not in guide_trace.nodes or not baseline_wish(guide_trace.nodes[name]):
            yield (
                name,
                f"model site {name!r} has a baseline, but the guide's draw is the one with a score; state the "
                f"baseline on the guide's site {name!r}",
            )


def site_baselines(model_trace: Trace, guide_trace: Trace, guide: Factors) -> dict[str, BaselineOptions]:
    """Return the options of the guide's sites that have a baseline.

    Raises:
        UnsupportedModelError: naming the site, where its options cannot be met.
    """
    for _, reason in misplaced_baselines(model_trace, guide_trace):
        raise UnsupportedModelError(reason)
    found = {}
    for name, site in guide_trace.nodes.items():
        if site.type == "sample" and site.infer:
            options = baseline_options(site)
            if options is None:
                continue
            if guide[name].score is None:
                raise UnsupportedModelError(
                    f"guide site {name!r} has a baseline, but its gradient follows the draw, so that there is no score "
                    f"to multiply; take the baseline away, or ask for the score by infer={{'gradient': 'score'}}"
                )
            found[name] = options
    return found


def refuse_baselines(estimator: str, guide_trace: Trace) -> None:
    """Refuse a baseline under an estimator that has none: it would be passed over in silence.

    Raises:
        UnsupportedModelError: naming the site and the estimator.
    """
    for name, site in guide_trace.nodes.items():
        if site.infer and site.type == "sample" and baseline_wish(site):
            raise UnsupportedModelError(
                f"guide site {name!r} has a baseline, but {estimator} takes none; use TraceGraph_ELBO, or take the "
                f"baseline away"
            )


def _stated(options: BaselineOptions) -> Tensor | float | None:
    """Return the baseline of a network or that the program states."""
    if options.nn_baseline is None:
        return options.baseline_value
    value = options.nn_baseline(tree_map_only(Tensor, torch.Tensor.detach, options.nn_baseline_input))
    if not isinstance(value, Tensor):
        raise ValueError(
            f"guide site {options.site!r}: its nn_baseline must return a tensor, but returned {type(value).__name__}"
        )
    if value.requires_grad and isinstance(options.nn_baseline, Module):
        _warn_unless_trained(options.site, options.nn_baseline)
    return value


def _warn_unless_trained(site: str, network: Module) -> None:
    store = get_param_store()
    first = next(network.parameters(), None)
    if first is None or store.is_bound or any(leaf is first for _, leaf in store.named_parameters()):
        return
    warnings.warn(
        f"guide site {site!r}: its nn_baseline is not among the parameters of the run, so that no step trains it; "
        f"register it in the guide, by aleator.module({type(network).__name__.lower()!r}, ...)",
        AleatorWarning,
        stacklevel=2,
    )


def _fitted(value: Tensor, cost: Tensor, factor: Factor) -> Tensor:
    """Check the shape of a baseline against that of the costs.

    Raises:
        ValueError: naming the site and both shapes.
    """
    shape = tuple(value.shape)
    width = -min((frame.dim for frame in factor.frames if frame.dim is not None and frame.name != PARTICLES), default=0)
    elements = tuple(cost.shape[cost.dim() - width :])
    if shape != elements and shape != tuple(cost.shape):
        raise ValueError(
            f"guide site {factor.name!r}: its baseline has shape {shape}, but the costs that its score is multiplied "
            f"by have shape {elements}; give one value for each element of the site's plates"
        )
    return value
