"""What the steps of a run change beside the store, and how one step changes it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, final

import torch
from torch import Tensor

from aleator import get_param_store
from aleator.errors import NonFiniteError
from aleator.infer.step import Gradients
from aleator.optim import Optimizer, OptimizerState
from aleator.optim.optimizer import Closure
from aleator.randomness import RandomSource, rng
from aleator_svi_elbo.compiled_training import CompiledTraining
from aleator_svi_elbo.evaluation import Evaluation
from aleator_svi_elbo.heap import keep_freed_memory
from aleator_svi_elbo.memory import BufferMemory, RunMemory
from aleator_svi_elbo.streams import StreamPosition
from aleator_svi_elbo.verification import verified_loss

__all__ = ["Training"]


@final
class Training:
    """A run's optimizer state, step count and randomness.

    Args:
        optimizer: the configuration.
        source: the run's own source of randomness, or ``None`` where it draws from the context's.

    Attributes:
        compiled: takes steps by compiled code where it can; ``None`` in a run that is not compiled.
        state: what the optimizer remembers.
        leaves: the parameters that it remembers it of, by name.
        steps_taken: the number of steps.
    """

    __slots__ = ("compiled", "leaves", "optimizer", "source", "state", "steps_taken")

    def __init__(self, optimizer: Optimizer, source: RandomSource | None) -> None:
        self.optimizer = optimizer
        self.source = source
        self.compiled: CompiledTraining | None = None
        self.state: OptimizerState = optimizer.init({})
        self.leaves: dict[str, Tensor] = {}
        self.steps_taken = 0
        keep_freed_memory()

    def randomness(self) -> AbstractContextManager[Any]:
        """Return a context that draws from the run's source, where it has one."""
        return nullcontext() if self.source is None else rng(self.source)

    def step(self, evaluation: Evaluation) -> float:
        """Take one step, and return the loss before it.

        Raises:
            NonFiniteError, ParameterError, SupportError: naming what is wrong; nothing has been updated.
        """
        with self.randomness():
            if self.optimizer.requires_closure:
                return self._step_by_closure(evaluation)
            if self.compiled is not None:
                return self.compiled.step(self, evaluation)
            return self.step_uncompiled(evaluation)

    def step_uncompiled(self, evaluation: Evaluation) -> float:
        """Take one step as it is; raises as :meth:`step` does."""
        result, checks = evaluation.gradients()
        loss = verified_loss(result, checks)
        self.apply(result)
        return loss

    def apply(self, result: Gradients, closure: Closure | None = None) -> None:
        """Write a step: parameters, the optimizer's state, buffers.

        Args:
            result: loss and gradients that have been found to hold, or will be before they matter.
            closure: evaluates them again, for an optimizer that asks.
        """
        leaves = result.leaves
        with _writing() if torch.is_inference_mode_enabled() else torch.no_grad():
            self._join(leaves)
            if result.grads:
                self.optimizer.update_(result.grads, self.state, leaves, closure=closure)
            self._write_buffers(result)
        self.steps_taken += 1

    def scheduler_step(self, loss: Tensor | None) -> None:
        """Move the schedule on by one epoch."""
        self.state = self.optimizer.scheduler_step(self.state, loss)

    def _step_by_closure(self, evaluation: Evaluation) -> float:
        """Take a step that evaluates several times; whatever fails, all is as it was before the step."""
        memory = RunMemory(self)
        try:
            return self._closure_step(evaluation, memory)
        except BaseException:
            memory.restore(self)
            raise

    def _closure_step(self, evaluation: Evaluation, memory: RunMemory) -> float:
        """Evaluate under one set of random numbers.

        What remains is the first evaluation's: its loss, what it made of buffers, and the place at which the streams
        of randomness stand.
        """
        result, checks = evaluation.gradients()
        loss = verified_loss(result, checks)
        after, buffers = StreamPosition(self.source), BufferMemory(get_param_store())
        evaluated = [(result.loss, result.grads)]

        def closure() -> tuple[Tensor, dict[str, Tensor]]:
            if evaluated:
                return evaluated.pop()
            memory.rewind()
            again, pending = evaluation.gradients()
            verified_loss(again, pending)
            return again.loss, {name: grad for name, grad in again.grads.items() if name in result.leaves}

        self.apply(result, closure)
        _require_finite(self.optimizer.name, self.leaves)
        after.restore()
        buffers.restore(forget_new=False)
        self._write_buffers(result)
        return loss

    def _write_buffers(self, result: Gradients) -> None:
        if result.updates:
            buffers = get_param_store().buffers
            for name, value in result.updates.items():
                buffers[name] = value

    def _join(self, leaves: dict[str, Tensor]) -> None:
        if any(self.leaves.get(name, leaf) is not leaf for name, leaf in leaves.items()):
            self._forget_replaced(leaves)
        self.leaves.update(leaves)
        self.state = self.optimizer.join(self.state, leaves)

    def _forget_replaced(self, leaves: dict[str, Tensor]) -> None:
        """Begin anew for parameters that are no longer the tensors they were: the store was cleared or replaced."""
        stale = {name for name, leaf in leaves.items() if self.leaves.get(name, leaf) is not leaf}
        if self.state.eager or stale >= self.state.slots.keys():
            self.state = self.optimizer.init({})
            self.leaves = {}
        else:
            kept = {name: slots for name, slots in self.state.slots.items() if name not in stale}
            self.state = self.state._replace(slots=kept)


@contextmanager
def _writing() -> Iterator[None]:
    """What is made under the caller's inference_mode could not be changed by a later step outside it."""
    with torch.inference_mode(False), torch.no_grad():
        yield


def _require_finite(optimizer: str, leaves: dict[str, Tensor]) -> None:
    """Look at what several moves in one step made of the parameters: no evaluation has seen the last of them."""
    for name, leaf in leaves.items():
        if not bool(leaf.detach().isfinite().all()):
            raise NonFiniteError(
                f"{optimizer} moved parameter {name!r} to a value that is not finite; nothing was updated in this "
                f"step: give it line_search_fn='strong_wolfe', or a smaller lr"
            )
