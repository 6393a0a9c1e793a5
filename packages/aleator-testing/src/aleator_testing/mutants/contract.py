"""Estimators whose ``estimate`` breaks the contract: for groups C, F and G."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor

import aleator
from aleator import get_param_store, handlers
from aleator.handlers import Messenger
from aleator.infer import Estimate
from aleator_testing.mutants.mutant import Mutant
from aleator_testing.reference import MeanBound, Particle

if TYPE_CHECKING:
    from aleator.infer import Factor
    from aleator.sites import Site
    from aleator.trace import Trace

__all__ = ["MUTANTS"]

Program = Callable[..., Any]


@final
@dataclass(frozen=True, repr=False)
class LossWithGraph(MeanBound):
    """Leaves the graph on the loss."""

    def estimate(self, model: Program, guide: Program, /, *args: Any, **kwargs: Any) -> Estimate:  # noqa: ANN401  # theirs
        """Return the surrogate as the loss."""
        found = super().estimate(model, guide, *args, **kwargs)
        return replace(found, loss=found.surrogate - found.surrogate.detach() + found.loss)


@final
@dataclass(frozen=True, repr=False)
class SinglePrecision(MeanBound):
    """Returns float32 whatever the model computes in."""

    def estimate(self, model: Program, guide: Program, /, *args: Any, **kwargs: Any) -> Estimate:  # noqa: ANN401  # theirs
        """Round the loss."""
        found = super().estimate(model, guide, *args, **kwargs)
        return replace(found, loss=found.loss.float())


@final
@dataclass(frozen=True, repr=False)
class AnotherView(MeanBound):
    """Has a differentiable loss of its own, which leaves the surrogate's value in."""

    def differentiable_loss(self, model: Program, guide: Program, /, *args: Any, **kwargs: Any) -> Tensor:  # type: ignore[misc]  # noqa: ANN401  # overrides what is final: what is wrong with it
        """Return a multiple."""
        return 2.0 * self.estimate(model, guide, *args, **kwargs).surrogate


@final
@dataclass(frozen=True, repr=False)
class ObjectiveAsLoss(MeanBound):
    """Returns the bound where its negative belongs, and climbs it all the same."""

    def estimate(self, model: Program, guide: Program, /, *args: Any, **kwargs: Any) -> Estimate:  # noqa: ANN401  # theirs
        """Forget the sign of what is reported."""
        found = super().estimate(model, guide, *args, **kwargs)
        return replace(found, loss=-found.loss)


@final
@dataclass(frozen=True, repr=False)
class DoublesGradients(MeanBound):
    """Back-propagates twice where it steps by itself: only a step as a pure function is right."""

    def loss_and_grads(self, model: Program, guide: Program, /, *args: Any, **kwargs: Any) -> float:  # type: ignore[misc]  # noqa: ANN401  # overrides what is final: what is wrong with it
        """Back-propagate the surrogate, doubled."""
        found = self.estimate(model, guide, *args, **kwargs)
        if found.surrogate.requires_grad:
            (2.0 * found.surrogate).backward()  # type: ignore[no-untyped-call]  # torch's
        return found.loss.item()


@final
@dataclass(frozen=True, repr=False)
class NeedsGradients(MeanBound):
    """Differentiates inside ``estimate``."""

    def estimate(self, model: Program, guide: Program, /, *args: Any, **kwargs: Any) -> Estimate:  # noqa: ANN401  # theirs
        """Look at the gradient on the way."""
        found = super().estimate(model, guide, *args, **kwargs)
        leaves = [leaf for _, leaf in get_param_store().named_parameters()]
        if leaves:
            torch.autograd.grad(found.surrogate, leaves, allow_unused=True, retain_graph=True)
        return found


@final
@dataclass(frozen=True, repr=False)
class OverwritesGradients(MeanBound):
    """Empties ``.grad`` before it adds to it."""

    def loss_and_grads(self, model: Program, guide: Program, /, *args: Any, **kwargs: Any) -> float:  # type: ignore[misc]  # noqa: ANN401  # overrides what is final: what is wrong with it
        """Forget what was there."""
        for _, leaf in get_param_store().named_parameters():
            leaf.grad = None
        return super().loss_and_grads(model, guide, *args, **kwargs)


@final
@dataclass(frozen=True, repr=False)
class IgnoresSeeds(MeanBound):
    """Shifts every draw by a number from a source of its own."""

    def estimate(self, model: Program, guide: Program, /, *args: Any, **kwargs: Any) -> Estimate:  # noqa: ANN401  # theirs
        """Run the guide under a handler that stirs."""
        return super().estimate(model, _Stirred()(guide), *args, **kwargs)


@final
class _Stirred(Messenger):
    def postprocess_sample(self, site: Site) -> None:
        """Shift a continuous draw."""
        if not site.is_observed and site.fn.has_rsample:
            site.value = site.value + 1e-3 * _OWN_SOURCE.random()


_OWN_SOURCE = random.SystemRandom()


@final
@dataclass(frozen=True, repr=False)
class WritesBuffers(MeanBound):
    """Writes its running average into the store inside ``estimate``."""

    def estimate(self, model: Program, guide: Program, /, *args: Any, **kwargs: Any) -> Estimate:  # noqa: ANN401  # theirs
        """Update an average."""
        found = super().estimate(model, guide, *args, **kwargs)
        get_param_store().buffers["baseline/z"] = found.loss
        return found


@final
@dataclass(frozen=True, repr=False)
class HiddenParameter(MeanBound):
    """Creates a parameter that no program has."""

    def estimate(self, model: Program, guide: Program, /, *args: Any, **kwargs: Any) -> Estimate:  # noqa: ANN401  # theirs
        """Ask for a temperature."""
        aleator.param("temperature", torch.tensor(1.0))
        return super().estimate(model, guide, *args, **kwargs)


@final
@dataclass(frozen=True, repr=False)
class LeaksHandler(MeanBound):
    """Leaves a handler on the stack where a program raises."""

    def estimate(self, model: Program, guide: Program, /, *args: Any, **kwargs: Any) -> Estimate:  # noqa: ANN401  # theirs
        """Enter a handler, and leave it where all goes well."""
        handler = handlers.block(hide=["nothing"])
        handler.__enter__()
        found = super().estimate(model, guide, *args, **kwargs)
        handler.__exit__(None, None, None)
        return found


@final
@dataclass(frozen=True, repr=False)
class KeepsTraces(MeanBound):
    """Keeps every particle's traces."""

    def particle(self, model_trace: Trace, guide_trace: Trace) -> Particle:
        """Put the traces aside."""
        _KEPT.append((model_trace, guide_trace))
        del _KEPT[:-3]
        return super().particle(model_trace, guide_trace)


_KEPT: list[tuple[Trace, Trace]] = []


@final
@dataclass(frozen=True, repr=False)
class ChecksNothing(MeanBound):
    """Takes the pair as it comes, and ignores what sites ask for."""

    def run_pair(self, model: Program, guide: Program, args: Any, kwargs: Any) -> tuple[Trace, Trace]:  # noqa: ANN401  # theirs
        """Run the programs, and look at nothing."""
        with handlers.trace() as guide_trace:
            guide(*args, **kwargs)
        with handlers.trace() as model_trace, handlers.replay(trace=guide_trace):
            model(*args, **kwargs)
        return model_trace, guide_trace


@final
@dataclass(frozen=True, repr=False)
class SwallowsNaN(MeanBound):
    """Replaces NaN and infinity by numbers."""

    def estimate(self, model: Program, guide: Program, /, *args: Any, **kwargs: Any) -> Estimate:  # noqa: ANN401  # theirs
        """Hide what is wrong."""
        found = super().estimate(model, guide, *args, **kwargs)
        return replace(found, loss=found.loss.nan_to_num(), surrogate=found.surrogate.nan_to_num())


@final
@dataclass(frozen=True, repr=False)
class MultipliesMasks(MeanBound):
    """Masks by multiplication: nothing times infinity is no number."""

    def scaled(self, factor: Factor, log_prob: Tensor, common: Any) -> Tensor:  # noqa: ANN401  # plates
        """Score without the mask, and multiply by it."""
        scored = super().scaled(factor, log_prob, common)
        if isinstance(factor.mask, Tensor):
            scored = scored + torch.where(factor.mask, 0.0, torch.inf) * factor.mask
        return scored


@final
@dataclass(frozen=True, repr=False)
class ReadsNumbers(MeanBound):
    """Reads the loss back as a number: a capture would keep that of its first run."""

    def estimate(self, model: Program, guide: Program, /, *args: Any, **kwargs: Any) -> Estimate:  # noqa: ANN401  # theirs
        """Make a new tensor of a number."""
        found = super().estimate(model, guide, *args, **kwargs)
        return replace(found, loss=torch.tensor(found.loss.item(), dtype=found.loss.dtype))


@final
@dataclass(frozen=True, repr=False)
class RunsTwice(MeanBound):
    """Runs everything a second time, for nothing."""

    def estimate(self, model: Program, guide: Program, /, *args: Any, **kwargs: Any) -> Estimate:  # noqa: ANN401  # theirs
        """Estimate twice."""
        super().estimate(model, guide, *args, **kwargs)
        return super().estimate(model, guide, *args, **kwargs)


@final
@dataclass(frozen=True, repr=False)
class MovesParameters(MeanBound):
    """Nudges the parameters inside ``estimate``."""

    def estimate(self, model: Program, guide: Program, /, *args: Any, **kwargs: Any) -> Estimate:  # noqa: ANN401  # theirs
        """Take a step of its own."""
        found = super().estimate(model, guide, *args, **kwargs)
        with torch.no_grad():
            for _, leaf in get_param_store().named_parameters():
                leaf.add_(1e-3)
        return found


_FAILS: Mapping[type[MeanBound], tuple[str, tuple[str, ...]]] = {
    LossWithGraph: ("loss with a graph", ("returns_estimate",)),
    SinglePrecision: ("loss in float32", ("returns_estimate",)),
    ObjectiveAsLoss: ("the bound as the loss", ("sign_convention",)),
    AnotherView: ("views disagree", ("views_agree",)),
    DoublesGradients: ("gradients doubled in loss_and_grads", ("views_agree", "pure_step_equals_gradients")),
    NeedsGradients: ("differentiates inside", ("no_grad_safe",)),
    OverwritesGradients: ("overwrites .grad", ("gradients_accumulate",)),
    IgnoresSeeds: ("ignores seeds", ("deterministic_under_seed", "functional_equals_stateful")),
    WritesBuffers: ("buffers written inside estimate", ("params_only_via_store",)),
    HiddenParameter: ("a hidden parameter", ("params_only_via_store",)),
    MovesParameters: ("parameters moved inside estimate", ("params_only_via_store",)),
    LeaksHandler: ("leaked handler", ("stack_clean",)),
    KeepsTraces: ("traces kept", ("no_leak",)),
    ChecksNothing: ("no check of the pair", ("mismatch_errors", "unsupported_is_loud")),
    SwallowsNaN: ("NaN swallowed", ("nan_and_inf_reported",)),
    MultipliesMasks: ("masks multiplied", ("masked_infinity_is_no_number",)),
    ReadsNumbers: ("reads numbers back", ("captured_equals_eager",)),
    RunsTwice: ("runs everything twice", ("overhead",)),
}

MUTANTS: tuple[Mutant, ...] = tuple(Mutant(name, cls, frozenset(fails)) for cls, (name, fails) in _FAILS.items())
