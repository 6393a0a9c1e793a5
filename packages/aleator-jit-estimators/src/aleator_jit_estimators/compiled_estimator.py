"""Any estimator with loss and gradient in compiled form."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, ClassVar, final

import torch
from torch import Tensor

import aleator
from aleator.infer import AbstractEstimator, Capabilities, Estimate
from aleator.infer.estimator import Program
from aleator.infer.step import ParamRecorder, Step, differentiate
from aleator.params import current_store
from aleator.randomness import is_interpreted
from aleator.runtime import STACK, Run
from aleator.validation import PendingChecks
from aleator_jit_estimators.compiled_step import Backend, CompiledStep
from aleator_jit_estimators.report import CompileReport, total

__all__ = ["CompiledEstimator"]

_MOST_PROGRAMS = 64


@final
class CompiledEstimator(AbstractEstimator):
    """An estimator whose loss and gradient run as compiled code; its result is the estimator's own.

    The first estimate of two programs runs as it is and creates their parameters.

    Args:
        inner: the estimator.
        backend: see ``compile``.
    """

    capabilities: ClassVar[Capabilities] = Capabilities(
        non_reparam=True, enumeration=True, vectorized_particles=True, bound="compiled"
    )

    def __init__(self, inner: AbstractEstimator, backend: Backend) -> None:
        self.inner = inner
        self.backend: Backend = backend
        self._compiled: dict[tuple[Any, ...], tuple[tuple[str, ...], CompiledStep, tuple[Any, ...]]] = {}

    @property
    def report(self) -> CompileReport:
        """What compiling came to so far, over all programs."""
        return total(step.report for _, step, _ in self._compiled.values())

    def estimate(self, model: Any, guide: Any, /, *args: Any, **kwargs: Any) -> Estimate:  # noqa: ANN401  # the programs' own
        """Return loss and surrogate; the surrogate's gradient is the compiled one."""
        store = current_store()
        key = (id(model), id(guide), tuple(sorted((name, repr(value)) for name, value in kwargs.items())))
        found = self._compiled.get(key)
        around = STACK.get()
        if not all(isinstance(handler, ParamRecorder) for handler in around):
            return self.inner.estimate(model, guide, *args, **kwargs)
        if is_interpreted() or found is None or not set(found[0]) <= set(store):
            return self._first(key, model, guide, args, kwargs)
        names, step, _ = found
        for name in names:
            aleator.param(name)
        leaves = {name: store.unconstrained(name) for name in names}
        buffers = dict(store.buffers.items())
        token = STACK.set(())  # a recorder around must not take the step's own leaves for the store's
        try:
            grads, _, new_buffers, loss = step(leaves, (), buffers, args)
        finally:
            STACK.reset(token)
        updates = {name: value for name, value in new_buffers.items() if value is not buffers.get(name)}
        if not torch.is_grad_enabled():
            return Estimate(loss, loss, updates=updates)
        linear = [((leaf - leaf.detach()) * grads[name]).sum() for name, leaf in leaves.items() if name in grads]
        return Estimate(loss, loss + torch.stack(linear).sum() if linear else loss, updates=updates)

    def _first(
        self,
        key: tuple[Any, ...],
        model: Program,
        guide: Program,
        args: tuple[Any, ...],
        kwargs: Mapping[str, Any],
    ) -> Estimate:
        recorder = ParamRecorder()
        with recorder:
            estimate = self.inner.estimate(model, guide, *args, **kwargs)
        if not is_interpreted():
            while len(self._compiled) >= _MOST_PROGRAMS:
                del self._compiled[next(iter(self._compiled))]
            programs = partial(model, **kwargs), partial(guide, **kwargs)
            step = CompiledStep(_gradient_step(self.inner, *programs), (self.inner, *programs), self.backend)
            # The programs are kept, so that their identities in the key stay theirs.
            self._compiled[key] = tuple(recorder.leaves), step, (model, guide)
        return estimate


def _gradient_step(estimator: AbstractEstimator, model: Any, guide: Any) -> Step:  # noqa: ANN401  # programs
    """Return loss, gradients and buffers in the form of a step that moves nothing."""

    def step(
        params: Mapping[str, Tensor],
        opt_state: Any,  # noqa: ANN401  # not used
        buffers: Mapping[str, Tensor],
        args: tuple[Any, ...],
    ) -> tuple[dict[str, Tensor], Any, dict[str, Tensor], Tensor]:
        leaves = {name: value.detach().requires_grad_() for name, value in params.items()}
        with Run(checks=PendingChecks(keep=False)), current_store().bind(leaves, buffers), torch.enable_grad():
            result = differentiate(estimator, model, guide, args, {})
        return dict(result.grads), opt_state, {**buffers, **result.updates}, result.loss

    return step
