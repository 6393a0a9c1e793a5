"""The one torch.optim optimizer of a run, which parameters join as they appear."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from aleator.optim.optimizer import Params

__all__ = ["TorchRun", "TorchRunMemory"]


class TorchRunMemory(NamedTuple):
    """A copy of a run's torch.optim optimizer.

    Attributes:
        optimizer: the optimizer itself.
        params: leaf by name.
        groups: the options of each parameter group and its parameters.
        state: what the optimizer keeps by parameter, in tensors of its own.
    """

    optimizer: torch.optim.Optimizer | None
    params: dict[str, Tensor]
    groups: list[dict[str, Any]]
    state: dict[Tensor, Any]


@final
class TorchRun:
    """A torch.optim optimizer and the names of the leaves it steps; it changes as the run goes on.

    Attributes:
        optimizer: None until the first parameter joins.
        params: leaf by name.
    """

    __slots__ = ("optimizer", "params")

    def __init__(self) -> None:
        self.optimizer: torch.optim.Optimizer | None = None
        self.params: dict[str, Tensor] = {}

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The optimizer's parameter groups."""
        return [] if self.optimizer is None else self.optimizer.param_groups

    def groups(self) -> list[list[str]]:
        """Return the names in each parameter group; the first of a group gives its learning rate a name."""
        names = {id(param): name for name, param in self.params.items()}
        return [[names[id(param)] for param in group["params"]] for group in self.param_groups]

    def rates(self) -> dict[str, Tensor]:
        """Return the learning rate of each group, in double precision on the CPU."""
        pairs = zip(self.groups(), self.param_groups, strict=True)
        return {
            names[0]: torch.tensor(float(group["lr"]), dtype=torch.float64) for names, group in pairs if "lr" in group
        }

    def set_rates_(self, rates: Mapping[str, Tensor]) -> None:
        """Give each group another learning rate."""
        for names, group in zip(self.groups(), self.param_groups, strict=True):
            if isinstance(group.get("lr"), Tensor):
                group["lr"].fill_(rates[names[0]])
            elif "lr" in group:
                group["lr"] = float(rates[names[0]])

    def take_(self, params: Params, part: torch.optim.Optimizer, home: dict[str, Any] | None = None) -> None:
        """Take over the parameters of a freshly made optimizer, and what it has made for them.

        Args:
            params: the parameters, by name.
            part: optimizer made for them alone; torch checks options only when it makes one.
            home: group of the same options that they go into; None for groups of their own.
        """
        self.params.update(params)
        if self.optimizer is None:
            self.optimizer = part
            return
        for group in part.param_groups:
            if home is None:
                self.optimizer.add_param_group(group)
            else:
                home["params"].extend(group["params"])
        self.optimizer.state.update(part.state)

    def follow_(self, params: Params) -> None:
        """Step other leaves of the same names from now on, with what is remembered of the old ones."""
        moved = {name: params[name] for name, old in self.params.items() if params.get(name, old) is not old}
        for name, new in moved.items():
            old = self.params[name]
            for group in self.param_groups:
                group["params"][:] = [new if param is old else param for param in group["params"]]
            if self.optimizer is not None and old in self.optimizer.state:
                self.optimizer.state[new] = self.optimizer.state.pop(old)
            self.params[name] = new

    def memory(self) -> TorchRunMemory:
        """Return a copy to go back to; the leaves' own values are not in it."""
        if self.optimizer is None:
            return TorchRunMemory(None, dict(self.params), [], {})
        groups = [
            {key: list(value) if key == "params" else _copied(value) for key, value in group.items()}
            for group in self.param_groups
        ]
        state = {param: _copied(kept) for param, kept in self.optimizer.state.items()}
        return TorchRunMemory(self.optimizer, dict(self.params), groups, state)

    def restore_(self, memory: TorchRunMemory) -> None:
        """Go back to a copy; it may be used once."""
        self.optimizer, self.params = memory.optimizer, dict(memory.params)
        if self.optimizer is None:
            return
        del self.param_groups[len(memory.groups) :]
        for group, kept in zip(self.param_groups, memory.groups, strict=True):
            members = group["params"]  # the optimizer may hold this very list elsewhere, as LBFGS does
            members[:] = kept["params"]
            group.clear()
            group.update({**kept, "params": members})
        self.optimizer.state.clear()
        self.optimizer.state.update(memory.state)

    def step_(self, grads: Params | None, evaluate: Callable[[], tuple[Tensor, Params]] | None = None) -> None:
        """Step once, on given gradients or on those that ``evaluate`` finds; the leaves' ``grad`` stay what they are.

        Args:
            grads: gradient by name; a parameter without one is left as it is.
            evaluate: returns loss and gradients at the leaves' present values, for a step that looks several times.
        """
        if self.optimizer is None:
            return
        before = {name: param.grad for name, param in self.params.items()}
        try:
            if evaluate is None:
                self._set_grads_(grads or {})
                self.optimizer.step()
            else:
                self.optimizer.step(self._closure(evaluate))
        finally:
            for name, grad in before.items():
                self.params[name].grad = grad

    def _set_grads_(self, grads: Params) -> None:
        for name, param in self.params.items():
            param.grad = grads.get(name)

    def _closure(self, evaluate: Callable[[], tuple[Tensor, Params]]) -> Callable[[], float]:
        def closure() -> float:
            self._set_grads_({})  # a loss that adds to `.grad` must not find there what it added the last time
            loss, grads = evaluate()
            self._set_grads_(grads)
            return float(loss.detach())

        return closure


def _copied(value: Any) -> Any:  # noqa: ANN401  # whatever an optimizer keeps: tensors, numbers, lists of them
    if isinstance(value, Tensor):
        return value.detach().clone()
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if type(value) in (list, tuple):
        return type(value)(_copied(item) for item in value)
    return copy.copy(value)
