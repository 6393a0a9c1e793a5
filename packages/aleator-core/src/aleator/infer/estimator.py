"""The contract of an estimator: one class with one method."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, ClassVar, final

import torch
from torch import Tensor

from aleator.plugins.capabilities import Capabilities
from aleator.runtime import Run

if TYPE_CHECKING:
    from aleator.infer.gradient_rules import GradientRule
    from aleator.trace import Trace

__all__ = ["AbstractEstimator", "Estimate"]

Program = Callable[..., Any]


@final
@dataclass(frozen=True, slots=True)
class Estimate:
    """One estimate of an objective and of its gradient.

    Attributes:
        loss: scalar, detached: minus the objective.
        surrogate: scalar: its gradient estimates the gradient of the loss.
        aux: ``"elbo/<site>"``: that site's term, summed and detached; diagnostics.
        updates: the next values of buffers, ``"baseline/<site>"``.
    """

    loss: Tensor
    surrogate: Tensor
    aux: Mapping[str, Tensor] = field(default_factory=dict)
    updates: Mapping[str, Tensor] = field(default_factory=dict)


class AbstractEstimator(ABC):
    """Turns a model and a guide into a loss and a gradient: subclass it and write ``estimate``.

    ``estimate`` writes nothing: not the estimator, not the store, not a buffer. A subclass states what it can do in
    ``capabilities``, and nowhere else.

    Example:
        >>> import torch, aleator
        >>> import aleator.distributions as dist
        >>> from aleator import handlers
        >>> from aleator.infer import AbstractEstimator, Capabilities, Estimate
        >>> class OneSample(AbstractEstimator):
        ...     capabilities = Capabilities()
        ...     def estimate(self, model, guide, /, *args, **kwargs):
        ...         q = handlers.trace(guide).get_trace(*args, **kwargs)
        ...         p = handlers.trace(handlers.replay(model, trace=q)).get_trace(*args, **kwargs)
        ...         loss = q.log_prob_sum() - p.log_prob_sum()
        ...         return Estimate(loss.detach(), loss)
        >>> def program():
        ...     aleator.sample("z", dist.Normal(0.0, 1.0))
        >>> OneSample().loss(program, program)
        0.0
    """

    capabilities: ClassVar[Capabilities]
    own_gradient_rules: ClassVar[tuple[GradientRule, ...]] = ()
    """Rules among ``capabilities.gradient_rules`` that the field has no name for, with what they need of a run."""

    @abstractmethod
    def estimate(self, model: Program, guide: Program, /, *args: Any, **kwargs: Any) -> Estimate:  # noqa: ANN401  # the programs' own
        """Return one estimate; the arguments are passed to the model and to the guide."""

    def estimates(self, model: Program, guide: Program, /, *args: Any, **kwargs: Any) -> Iterator[Estimate]:  # noqa: ANN401  # the programs' own
        """Yield independent parts that sum to one estimate, so that each can be differentiated and freed on its own."""
        yield self.estimate(model, guide, *args, **kwargs)

    def explain_sites(self, model_trace: Trace, guide_trace: Trace) -> Mapping[str, Mapping[str, str]]:
        """Return what this estimator does at each site, in words, for ``aleator.infer.explain``.

        Args:
            model_trace, guide_trace: a run of the programs; its sites have their ``SITE_STRUCTURE`` in their stash.

        Returns:
            By site and column: ``"gradient"``, ``"kl"``, ``"score costs"``, ``"baseline"``, or a column of its own.
        """
        return {}

    def explain_run(self, model: Program, guide: Program, /, *args: Any, **kwargs: Any) -> tuple[Trace, Trace] | None:  # noqa: ANN401  # the programs' own
        """Run the programs as an estimate does, for ``aleator.infer.explain``: the model's trace, and the guide's.

        Returns:
            ``None`` where an estimate runs them plainly; ``explain`` then does it, and finds their structure.
        """
        return None

    def explain_sums(self, model_trace: Trace, guide_trace: Trace) -> Sequence[str]:
        """Return what ``explain`` should say below the table, a line each: what else is computed, and at what cost."""
        return ()

    def explained_by(self, model: Program, guide: Program) -> tuple[AbstractEstimator, Sequence[str]]:
        """Return the estimator that ``explain`` is to ask, and what it should say below the table beside that.

        It is this one, unless this one is another in a wrapper. The programs are those that are explained.
        """
        return self, ()

    @final
    def loss(self, model: Program, guide: Program, /, *args: Any, **kwargs: Any) -> float:  # noqa: ANN401  # the programs' own
        """Return an estimate of the loss as a number, without keeping a graph."""
        with torch.no_grad(), Run():
            return float(sum(part.loss for part in self.estimates(model, guide, *args, **kwargs)))

    @final
    def differentiable_loss(self, model: Program, guide: Program, /, *args: Any, **kwargs: Any) -> Tensor:  # noqa: ANN401  # the programs' own
        """Return a scalar whose value is the loss and whose gradient is the surrogate's."""
        with Run():
            estimate = self.estimate(model, guide, *args, **kwargs)
        return _with_gradient_of(estimate.loss, estimate.surrogate)

    @final
    def loss_and_grads(self, model: Program, guide: Program, /, *args: Any, **kwargs: Any) -> float:  # noqa: ANN401  # the programs' own
        """Add the gradient of the loss to ``.grad`` of the parameters, and return the loss as a number.

        Parts are differentiated one by one, so memory does not grow with the number of looped particles.
        """
        total: Tensor | None = None
        retain_graph = getattr(self, "retain_graph", None)
        with Run():
            for part in self.estimates(model, guide, *args, **kwargs):
                if part.surrogate.requires_grad:
                    part.surrogate.backward(retain_graph=retain_graph)  # type: ignore[no-untyped-call]  # torch's
                total = part.loss if total is None else total + part.loss
        return 0.0 if total is None else float(total)


def _with_gradient_of(value: Tensor, surrogate: Tensor) -> Tensor:
    """Return ``value`` in the forward pass and the gradient of ``surrogate`` in the backward pass.

    Adding ``surrogate - surrogate.detach()`` would turn an infinite surrogate into NaN.
    """
    if not surrogate.requires_grad:
        return value
    difference = surrogate - surrogate.detach()
    return value + torch.where(surrogate.detach().isfinite(), difference, torch.zeros_like(difference))
