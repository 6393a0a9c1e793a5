"""Mutants whose value is wrong: sites counted that should not be, left out, weighted twice, or mixed up."""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, final

from torch import Tensor

from aleator import handlers
from aleator.handlers import Messenger
from aleator.infer import Estimate, Factor, Role
from aleator_testing.mutants.mutant import Mutant
from aleator_testing.reference import MeanBound

if TYPE_CHECKING:
    from aleator.sites import PlateFrame, Site
    from aleator.trace import Trace

__all__ = ["MUTANTS"]

Program = Callable[..., Any]
Densities = tuple[Mapping[str, Factor], Mapping[str, Factor]]
Frames = Collection["PlateFrame"]


@final
@dataclass(frozen=True)
class DoubledPlateScale(MeanBound):
    """A minibatch's weight is applied twice."""

    def scaled(self, factor: Factor, log_prob: Tensor, common: Frames) -> Tensor:
        return super().scaled(factor, log_prob, common) * math.prod(f.scale for f in factor.frames if f not in common)

    def common_scale(self, common: Frames) -> float:
        return super().common_scale(common) ** 2


@final
@dataclass(frozen=True)
class NoPlateScale(MeanBound):
    """A minibatch counts as if it were all data."""

    def scaled(self, factor: Factor, log_prob: Tensor, common: Frames) -> Tensor:
        return log_prob * factor.scale

    def common_scale(self, common: Frames) -> float:
        return 1.0


@final
@dataclass(frozen=True)
class ScaleIgnored(MeanBound):
    """The handlers' scale is ignored."""

    def densities(self, model_trace: Trace, guide_trace: Trace) -> Densities:
        model, guide = super().densities(model_trace, guide_trace)
        return tuple({name: replace(f, scale=1.0) for name, f in side.items()} for side in (model, guide))  # type: ignore[return-value]  # two of them


@final
@dataclass(frozen=True)
class MaskedRowsCounted(MeanBound):
    """The handlers' mask is ignored."""

    def densities(self, model_trace: Trace, guide_trace: Trace) -> Densities:
        for site in (*model_trace.nodes.values(), *guide_trace.nodes.values()):
            site.mask = None
        return super().densities(model_trace, guide_trace)


@final
@dataclass(frozen=True)
class MaskMultiplied(MeanBound):
    """A mask is multiplied by what it should select from: 0 times infinity is no number."""

    def densities(self, model_trace: Trace, guide_trace: Trace) -> Densities:
        masks = {}
        for side in (model_trace, guide_trace):
            for name, site in side.nodes.items():
                masks[name], site.mask = site.mask, None
        model, guide = super().densities(model_trace, guide_trace)
        return tuple(  # type: ignore[return-value]  # two of them
            {
                name: f if masks[name] is None else replace(f, log_prob=f.log_prob * masks[name])
                for name, f in side.items()
            }
            for side in (model, guide)
        )


@final
@dataclass(frozen=True)
class GuideLeftOut(MeanBound):
    """log q is left out of the value: the objective is the expected log joint."""

    def densities(self, model_trace: Trace, guide_trace: Trace) -> Densities:
        model, guide = super().densities(model_trace, guide_trace)
        return model, {name: replace(f, log_prob=f.log_prob * 0.0) for name, f in guide.items()}


@final
@dataclass(frozen=True)
class AuxiliaryLeftOut(MeanBound):
    """A guide's own helpers are taken for nobody's: their log q is left out."""

    def densities(self, model_trace: Trace, guide_trace: Trace) -> Densities:
        model, guide = super().densities(model_trace, guide_trace)
        return model, {name: f for name, f in guide.items() if f.role is not Role.AUXILIARY}


@final
@dataclass(frozen=True)
class DataLeftOut(MeanBound):
    """The data do not enter: steps converge to the prior."""

    def densities(self, model_trace: Trace, guide_trace: Trace) -> Densities:
        model, guide = super().densities(model_trace, guide_trace)
        return {name: f for name, f in model.items() if f.role is not Role.OBSERVED}, guide


@final
@dataclass(frozen=True)
class MeanOverPlates(MeanBound):
    """A plate's elements are averaged, not summed."""

    def scaled(self, factor: Factor, log_prob: Tensor, common: Frames) -> Tensor:
        return super().scaled(factor, log_prob, common) / math.prod(f.size for f in factor.frames if f not in common)


@final
@dataclass(frozen=True)
class HandlersStripped(MeanBound):
    """Handlers around the programs are taken off: what they condition, replay or substitute is lost."""

    def estimate(self, model: Program, guide: Program, /, *args: Any, **kwargs: Any) -> Estimate:  # noqa: ANN401  # the programs' own
        return super().estimate(getattr(model, "fn", model), getattr(guide, "fn", guide), *args, **kwargs)


@final
@dataclass(frozen=True)
class NeedsLatents(MeanBound):
    """A guide without a site is refused."""

    def densities(self, model_trace: Trace, guide_trace: Trace) -> Densities:
        model, guide = super().densities(model_trace, guide_trace)
        if not guide:
            raise ValueError("max() of no sites")
        return model, guide


@final
@dataclass(frozen=True)
class MatchedByPosition(MeanBound):
    """The model's latent sites take the guide's values in order, not by name."""

    def run_pair(self, model: Program, guide: Program, args: Any, kwargs: Any) -> tuple[Trace, Trace]:  # noqa: ANN401  # theirs
        own, guide_trace = super().run_pair(model, guide, args, kwargs)
        latents = [name for name, site in own.nodes.items() if site.type == "sample" and not site.is_observed]
        drawn = [site for site in guide_trace.nodes.values() if site.type == "sample" and not site.is_observed]
        values = guide_trace.copy()
        for name, site in zip(latents, drawn, strict=False):
            values.nodes[name] = site
        with handlers.trace() as model_trace, handlers.replay(trace=values):
            model(*args, **kwargs)
        return model_trace, guide_trace


@final
@dataclass(frozen=True)
class ModelDrawsAnew(MeanBound):
    """The model is not replayed against the guide: it draws values of its own."""

    def run_pair(self, model: Program, guide: Program, args: Any, kwargs: Any) -> tuple[Trace, Trace]:  # noqa: ANN401  # theirs
        _, guide_trace = super().run_pair(model, guide, args, kwargs)
        with handlers.trace() as model_trace:
            model(*args, **kwargs)
        return model_trace, guide_trace


@final
@dataclass(frozen=True)
class ModelMinibatchDiffers(MeanBound):
    """The model looks at another minibatch than the guide."""

    def run_pair(self, model: Program, guide: Program, args: Any, kwargs: Any) -> tuple[Trace, Trace]:  # noqa: ANN401  # theirs
        return super().run_pair(_ShiftedMinibatch()(model), guide, args, kwargs)


@final
class _ShiftedMinibatch(Messenger):
    def postprocess_subsample(self, site: Site) -> None:
        if site.name == "data" and len(site.value) < site.fn.size:
            site.value = (site.value + 1) % site.fn.size


@final
@dataclass(frozen=True)
class LossIsSurrogate(MeanBound):
    """The number reported is the surrogate's, score terms included."""

    def reduce(self, log_weight: Tensor, surrogate: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
        return surrogate.mean(0), surrogate.mean(0)


@final
@dataclass(frozen=True)
class ValueSummed(MeanBound):
    """The value of K particles is their sum: 1/K is missing."""

    def reduce(self, log_weight: Tensor, surrogate: Tensor, score: Tensor) -> tuple[Tensor, Tensor]:
        return log_weight.sum(0), surrogate.mean(0)


MUTANTS = (
    Mutant("doubled subsampling scale", DoubledPlateScale, frozenset({"subsampling_unbiased"})),
    Mutant("subsampling scale ignored", NoPlateScale, frozenset({"subsampling_unbiased"})),
    Mutant("scale ignored", ScaleIgnored, frozenset({"respects_scale_mask"})),
    Mutant("masked rows counted", MaskedRowsCounted, frozenset({"respects_scale_mask"})),
    Mutant("mask multiplied, not selected", MaskMultiplied, frozenset({"respects_scale_mask"})),
    Mutant("log q left out of the value", GuideLeftOut, frozenset({"value_exact", "value_unbiased"})),
    Mutant("auxiliary sites left out", AuxiliaryLeftOut, frozenset({"auxiliary_and_empty"})),
    Mutant("converges to the prior: data left out", DataLeftOut, frozenset({"converges", "tight_at_posterior"})),
    Mutant("plates averaged, not summed", MeanOverPlates, frozenset({"plates_and_event_dims"})),
    Mutant(
        "handlers around programs stripped", HandlersStripped, frozenset({"respects_condition_block_replay_substitute"})
    ),
    Mutant("empty guide refused", NeedsLatents, frozenset({"auxiliary_and_empty"})),
    Mutant("sites matched by position", MatchedByPosition, frozenset({"site_order_irrelevant"})),
    Mutant("model draws its own values", ModelDrawsAnew, frozenset({"value_exact", "tight_at_posterior"})),
    Mutant(
        "model's minibatch differs",
        ModelMinibatchDiffers,
        frozenset({"subsampling_unbiased"}),
    ),
    Mutant("loss is the surrogate", LossIsSurrogate, frozenset({"value_exact", "value_unbiased"})),
    Mutant("missing 1/K in the value", ValueSummed, frozenset({"value_exact", "bound_order"})),
)
