"""What every optimizer is: a frozen configuration whose state belongs to the run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

from torch import Tensor

from aleator.errors import ParameterError

if TYPE_CHECKING:
    from aleator.optim.torch_run import TorchRun

__all__ = ["Closure", "Grads", "Optimizer", "OptimizerState", "Params", "empty_state", "touched"]

Params = Mapping[str, Tensor]
Grads = Mapping[str, Tensor | None]
Closure = Callable[[], tuple[Tensor, Grads]]


class OptimizerState(NamedTuple):
    """All that an optimizer remembers of a run: a pytree of tensors for the optimizers that have a pure form.

    Attributes:
        slots: by parameter name, its step count (``"step"``) and what the algorithm keeps for it.
        learning_rates: one per set of options, under the name of the first parameter that had that set.
        base_rates: the learning rates before a schedule; empty without one.
        schedule: what a schedule remembers, its epoch counter among it; empty without one.
        eager: the one ``torch.optim`` optimizer of the run, for configurations that have no pure form.
    """

    slots: dict[str, dict[str, Tensor]]
    learning_rates: dict[str, Tensor]
    base_rates: dict[str, Tensor]
    schedule: dict[str, Tensor]
    eager: tuple[TorchRun, ...]


def empty_state() -> OptimizerState:
    """Return the state of a run that has met no parameter yet."""
    return OptimizerState({}, {}, {}, {}, ())


def touched(optimizer: str, grads: Grads, params: Params) -> list[str]:
    """Return the names that have a gradient; raise ``ParameterError`` where a gradient does not fit its parameter."""
    names = []
    for name, grad in grads.items():
        if grad is None:
            continue
        param = params.get(name)
        if param is None:
            raise ParameterError(f"{optimizer}: there is a gradient for {name!r}, but no parameter of that name")
        if grad.shape != param.shape:
            raise ParameterError(
                f"{optimizer}: the gradient of parameter {name!r} must have shape {tuple(param.shape)}, "
                f"found {tuple(grad.shape)}"
            )
        names.append(name)
    return names


class Optimizer(ABC):
    """A frozen configuration of an optimizer; one object serves any number of runs and threads.

    Parameters and gradients are mappings from a parameter's name to a tensor. A parameter that has no gradient in a
    step (absent, or None) is left as it is, its step count too.

    Example:
        >>> import torch
        >>> from aleator import optim
        >>> adam = optim.Adam({"lr": 0.1})
        >>> params = {"a": torch.tensor(1.0)}
        >>> state = adam.init(params)
        >>> params, state = adam.update({"a": torch.tensor(2.0)}, state, params)
        >>> round(params["a"].item(), 4), state.slots["a"]["step"].item()
        (0.9, 1.0)
    """

    @property
    @abstractmethod
    def name(self) -> str:
        """The name that messages and files give to this optimizer."""

    @property
    @abstractmethod
    def has_pure_form(self) -> bool:
        """Whether `update` exists: steps can be captured, compiled and run without global state."""

    @property
    def requires_closure(self) -> bool:
        """Whether a step evaluates loss and gradients several times, so that `update_` needs a closure."""
        return False

    def init(self, params: Params) -> OptimizerState:
        """Return the state of a run that begins with these parameters."""
        return self.join(empty_state(), params)

    @abstractmethod
    def join(self, state: OptimizerState, params: Params) -> OptimizerState:
        """Return the state with an entry, at step count 0, for each parameter that it does not know yet."""

    @abstractmethod
    def update(self, grads: Grads, state: OptimizerState, params: Params) -> tuple[dict[str, Tensor], OptimizerState]:
        """Return parameters and state after one step, as new tensors; nothing given is changed.

        Reads no number back from the device and is not differentiated through.

        Raises:
            ParameterError: a gradient does not fit its parameter, or a parameter has not joined the state.
            UnsupportedModelError: this optimizer has no pure form.
        """

    @abstractmethod
    def update_(self, grads: Grads, state: OptimizerState, params: Params, *, closure: Closure | None = None) -> None:
        """Take the same step in place, on the leaves and on the state's tensors.

        Args:
            grads: gradient by name; left as they are.
            state: state in which every touched parameter has an entry.
            params: leaf tensor by name.
            closure: evaluates the loss and the gradients at the leaves' present values; called where
                `requires_closure` is true and nowhere else.
        """

    @abstractmethod
    def learning_rate(self, state: OptimizerState, name: str) -> Tensor:
        """Return the learning rate that the next step of a parameter uses, as a tensor without dimensions."""

    @abstractmethod
    def with_learning_rates(self, state: OptimizerState, rates: Mapping[str, Tensor]) -> OptimizerState:
        """Return the state with these learning rates in the place of ``state.learning_rates`` (same keys)."""

    def scheduler_step(self, state: OptimizerState, loss: Tensor | None = None) -> OptimizerState:
        """Return the state one epoch of the schedule later; the same state where there is no schedule.

        Args:
            state: state of the run; left as it is.
            loss: the epoch's loss, which some schedules look at.
        """
        return state

    @abstractmethod
    def state_to_payload(self, state: OptimizerState) -> dict[str, Any]:
        """Return the state as nested dicts and lists of tensors and plain values, independent of the run."""

    @abstractmethod
    def state_from_payload(self, payload: Mapping[str, Any], params: Params) -> OptimizerState:
        """Return the state that `state_to_payload` wrote down; training continues bit for bit.

        Args:
            payload: what `state_to_payload` returned, perhaps from a file.
            params: the parameters of the run, of the same names, shapes and dtypes; they may be on another device.

        Raises:
            CheckpointError: the payload is damaged, or does not fit this optimizer or these parameters.
        """
