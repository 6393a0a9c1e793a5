"""Steps of a run by compiled code, where there is code for them."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor

from aleator.params import ParamStore, current_store
from aleator.randomness import RandomSource, current
from aleator.randomness.source import process_generators
from aleator_svi_elbo.evaluation import Evaluation
from aleator_svi_elbo.whole_step import NewParameterError, whole_step

if TYPE_CHECKING:
    from aleator_svi_elbo.training import Training

__all__ = ["CompiledTraining"]


@final
class CompiledTraining:
    """Takes steps of a run by compiled code, on the parameters that the store holds at the time.

    The first step of a run runs as it is, each that meets a new parameter, every one for which there is no code yet,
    and again, under the same randomness, one that does not hold: that says what is wrong.

    Args:
        evaluation: the estimator and the programs.
        training: the run.
        backend: which code, as in ``aleator.infer.compile``.

    Raises:
        MissingPluginError: aleator-jit-estimators is not installed.
        ValueError: there is no such backend, or the optimizer has no pure form.
    """

    def __init__(self, evaluation: Evaluation, training: Training, backend: str) -> None:
        from aleator.infer import compile  # needs another distribution, which is there where somebody compiles

        whole = whole_step(evaluation.loss, training.optimizer, evaluation.model, evaluation.guide)
        self.compiled: Any = compile(whole, backend=backend)

    def step(self, training: Training, evaluation: Evaluation) -> float:
        """Take a step, by compiled code or as it is, and return the loss before it.

        Raises:
            NonFiniteError, ParameterError, SupportError: naming what is wrong; nothing has been updated.
        """
        begin = time.perf_counter()
        loss = self._compiled_step(training, evaluation.args, evaluation.kwargs)
        if loss is not None:
            self.compiled.note_compiled(time.perf_counter() - begin)
            return loss
        begin = time.perf_counter()
        loss = training.step_uncompiled(evaluation)
        self.compiled.note_eager(time.perf_counter() - begin)
        return loss

    def _compiled_step(self, training: Training, args: tuple[Any, ...], kwargs: dict[str, Any]) -> float | None:
        """Take a step and return the loss before it, or return ``None`` and change nothing."""
        store = current_store()
        leaves = _leaves(store, training)
        if leaves is None:
            return None
        buffers = dict(store.buffers.items())
        rewind = _rewind(training.source)
        with torch.inference_mode(False):
            try:
                result = self.compiled.code(leaves, training.state, buffers, (args, kwargs))
            except NewParameterError:
                result = None
            if result is None:
                return None
            params, state, new_buffers, numbers = result
            read: list[float] = numbers.tolist()
            loss, holds = read
            if math.isnan(loss) or not holds:
                rewind()
                return None
            with torch.no_grad():
                torch._foreach_copy_(list(leaves.values()), [params[name] for name in leaves])
        training.state = state
        for name, value in new_buffers.items():
            if value is not buffers.get(name):
                store.buffers[name] = value
        training.steps_taken += 1
        return loss


def _leaves(store: ParamStore, training: Training) -> dict[str, Tensor] | None:
    """Return the run's parameters, or ``None`` where one is no longer the tensor that the optimizer remembers."""
    if not training.leaves:
        return None
    leaves = {}
    for name, leaf in training.leaves.items():
        if name not in store or store.unconstrained(name) is not leaf:
            return None
        leaves[name] = leaf
    return leaves


def _rewind(source: RandomSource | None) -> Callable[[], None]:
    """Return what puts the streams of torch back to where they stand now; compiled code draws on no others."""
    found = current() if source is None else source
    if found is not None:
        state = found.get_state()
        return lambda: found.set_state(state)
    states = {device: generator.get_state() for device, generator in process_generators().items()}

    def rewind() -> None:
        for device, generator in process_generators().items():
            if device in states:
                generator.set_state(states[device])

    return rewind
