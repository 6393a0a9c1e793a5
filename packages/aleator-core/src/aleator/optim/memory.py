"""A copy of an optimizer's state, to go back to where steps turn out not to hold."""

from __future__ import annotations

from typing import final

from aleator.optim.checkpoint import copied
from aleator.optim.optimizer import OptimizerState

__all__ = ["OptimizerMemory"]


@final
class OptimizerMemory:
    """What an optimizer remembers of a run at the moment this is made, whatever later steps do to it in place.

    Args:
        state: the run's state.

    Example:
        >>> import torch
        >>> from aleator import optim
        >>> sgd, params = optim.SGD(lr=0.1, momentum=0.9), {"a": torch.tensor(0.0, requires_grad=True)}
        >>> state = sgd.init(params)
        >>> memory = OptimizerMemory(state)
        >>> sgd.update_({"a": torch.tensor(1.0)}, state, params)
        >>> memory.restored().slots["a"]["step"]
        tensor(0.)
    """

    __slots__ = ("_state", "_torch_runs")

    def __init__(self, state: OptimizerState) -> None:
        self._torch_runs = [(run, run.memory()) for run in state.eager]
        self._state = OptimizerState(
            {name: copied(slots) for name, slots in state.slots.items()},
            copied(state.learning_rates),
            copied(state.base_rates),
            copied(state.schedule),
            state.eager,
        )

    def restored(self) -> OptimizerState:
        """Return the state as it was; may be called once, since the run goes on with the tensors of this copy."""
        for run, memory in self._torch_runs:
            run.restore_(memory)
        return self._state
