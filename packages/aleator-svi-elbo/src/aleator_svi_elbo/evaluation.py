"""What a step evaluates: a loss of two programs on some arguments, and its gradient."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import Any, NamedTuple

import torch

from aleator import settings
from aleator.infer import AbstractEstimator
from aleator.infer.step import Gradients, ParamRecorder, differentiate
from aleator.runtime import Run
from aleator.validation import PendingChecks

__all__ = ["Evaluation", "Program"]

Program = Callable[..., Any]


class Evaluation(NamedTuple):
    """A loss, the two programs it is of, and their arguments.

    Attributes:
        loss: the estimator.
        loss_and_grads: a callable that adds to ``.grad``, in the place of the estimator; or ``None``.
        model, guide: the programs.
        args, kwargs: their arguments.
    """

    loss: AbstractEstimator
    loss_and_grads: Callable[..., Any] | None
    model: Program
    guide: Program
    args: tuple[Any, ...]
    kwargs: dict[str, Any]

    def gradients(self) -> tuple[Gradients, PendingChecks]:
        """Run the programs, and return loss and gradients, not looked at yet, with what must hold of their values."""
        checks = PendingChecks(keep=settings.get().validate)
        with Run(checks=checks), nullcontext() if torch.is_grad_enabled() else _gradients_on():
            if self.loss_and_grads is None:
                return differentiate(self.loss, self.model, self.guide, self.args, self.kwargs), checks
            return self._through_grad(self.loss_and_grads), checks

    def _through_grad(self, loss_and_grads: Callable[..., Any]) -> Gradients:
        recorder = ParamRecorder()
        try:
            with recorder:
                loss = loss_and_grads(self.model, self.guide, *self.args, **self.kwargs)
            grads = {name: leaf.grad for name, leaf in recorder.leaves.items() if leaf.grad is not None}
        finally:
            # Also when it raises: half of a gradient must not join that of the next step.
            for leaf in recorder.leaves.values():
                leaf.grad = None
        return Gradients(torch.as_tensor(loss).detach(), recorder.leaves, grads, {}, {})


@contextmanager
def _gradients_on() -> Iterator[None]:
    """Under the caller's no_grad a step would otherwise do nothing, and say nothing."""
    with torch.inference_mode(False), torch.enable_grad():
        yield
