"""Copies of what a run changes, to go back to where its steps turn out not to hold."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import torch
from torch import Tensor

from aleator import ParamStore, get_param_store
from aleator.optim.memory import OptimizerMemory
from aleator_svi_elbo.streams import StreamPosition

if TYPE_CHECKING:
    from aleator_svi_elbo.training import Training

__all__ = ["BufferMemory", "RunMemory"]


@final
class BufferMemory:
    """The buffers of a store: the tensors themselves, and what they hold now.

    Args:
        store: whose buffers.
    """

    __slots__ = ("_buffers", "_store")

    def __init__(self, store: ParamStore) -> None:
        self._store = store
        self._buffers = {name: (buffer, buffer.detach().clone()) for name, buffer in store.buffers.items()}

    def restore(self, forget_new: bool = True) -> None:
        """Put every buffer back; ``forget_new`` removes those that came since."""
        buffers = self._store.buffers
        for name in set(buffers) - set(self._buffers) if forget_new else ():
            del buffers[name]
        with torch.inference_mode(False), torch.no_grad():
            for name, (buffer, value) in self._buffers.items():
                buffer.copy_(value)
                if name not in buffers or buffers[name] is not buffer:
                    buffers[name] = buffer


@final
class RunMemory:
    """The context's store and a run's optimizer, step count and randomness, as they are when this is made.

    Leaves and buffers come back as the tensors that they were, with the values that they had; parameters that came
    since are forgotten, so that a program that runs again makes them again. It costs the memory of one more copy of
    parameters, buffers and optimizer state, and no host read.

    Args:
        training: the run.

    Attributes:
        steps_taken: the number of steps.
    """

    __slots__ = ("_buffers", "_known", "_leaves", "_optimizer", "_parameters", "_store", "_streams", "steps_taken")

    def __init__(self, training: Training) -> None:
        self._store = store = get_param_store()
        self._parameters = {
            name: (leaf, store.constraint(name), leaf.detach().clone()) for name, leaf in store.named_parameters()
        }
        self._known = {id(leaf) for leaf, _, _ in self._parameters.values()}
        self._buffers = BufferMemory(store)
        self._optimizer = OptimizerMemory(training.state)
        self._leaves = dict(training.leaves)
        self.steps_taken = training.steps_taken
        self._streams = StreamPosition(training.source)

    def holds(self, leaves: dict[str, Tensor]) -> bool:
        """Tell whether these leaves were in the store, so that they can be put back."""
        return all(id(leaf) in self._known for leaf in leaves.values())

    def rewind(self) -> None:
        """Put randomness and buffers back, for another evaluation; buffers that came since stay as they are."""
        self._streams.restore()
        self._buffers.restore(forget_new=False)

    def restore(self, training: Training) -> None:
        """Put everything back; may be called once."""
        store = self._store
        for name in set(store) - set(self._parameters):
            del store[name]
        for name, (leaf, constraint, value) in self._parameters.items():
            with torch.inference_mode(False), torch.no_grad():
                leaf.copy_(value)
            if name not in store or store.unconstrained(name) is not leaf:
                if name in store:
                    del store[name]
                store.register(name, leaf, constraint)
        self._buffers.restore()
        training.state = self._optimizer.restored()
        training.leaves = self._leaves
        training.steps_taken = self.steps_taken
        self._streams.restore()
