"""An optimizer with a schedule on its learning rates."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from aleator.optim import checkpoint
from aleator.optim.clipping import ClipLike
from aleator.optim.conversion import as_optimizer, configure
from aleator.optim.optimizer import Closure, Grads, Optimizer, OptimizerState, Params
from aleator.optim.options import check_known
from aleator.optim.schedule import Schedule

__all__ = ["Scheduled", "scheduled_from"]


@final
@dataclass(frozen=True)
class Scheduled(Optimizer):
    """An optimizer whose learning rates follow a schedule.

    The epoch counter is part of the run's state and moves by `scheduler_step` alone; a step costs nothing more than
    without a schedule. A parameter that joins late takes the present epoch's rate.

    Args:
        optimizer: anything `as_optimizer` takes, but no `Scheduled`.
        schedule: how the learning rates change.

    Example:
        >>> import torch
        >>> from aleator import optim
        >>> halving = optim.Scheduled(optim.SGD(lr=1.0), optim.ExponentialLR(gamma=0.5))
        >>> state = halving.init({"a": torch.tensor(0.0)})
        >>> state = halving.scheduler_step(halving.scheduler_step(state))
        >>> halving.learning_rate(state, "a").item()
        0.25
    """

    optimizer: Optimizer
    schedule: Schedule

    def __post_init__(self) -> None:
        """Accept whatever `as_optimizer` does; raise ``TypeError`` for anything else."""
        object.__setattr__(self, "optimizer", as_optimizer(self.optimizer))
        if isinstance(self.optimizer, Scheduled):
            raise TypeError(f"{self.optimizer.name} has a schedule already; combine them by ChainedScheduler")
        if not isinstance(self.schedule, Schedule):
            raise TypeError(
                f"expected a schedule of aleator.optim, such as ExponentialLR(gamma=0.9); "
                f"found {type(self.schedule).__module__}.{type(self.schedule).__qualname__}"
            )

    @property
    def name(self) -> str:
        """The schedule's name around the optimizer's."""
        return f"{self.schedule.name}({self.optimizer.name})"

    @property
    def has_pure_form(self) -> bool:
        """Whether the optimizer has one."""
        return self.optimizer.has_pure_form

    @property
    def requires_closure(self) -> bool:
        """Whether the optimizer needs one."""
        return self.optimizer.requires_closure

    def join(self, state: OptimizerState, params: Params) -> OptimizerState:
        """Return the state with an entry for each parameter that it does not know yet, at the epoch's rate."""
        joined = self.optimizer.join(state, params)
        if joined is state or not joined.learning_rates:
            return joined
        new = joined.learning_rates.keys() - state.base_rates.keys()
        # A torch.optim optimizer reports all its rates; those that were there keep what the schedule made of them.
        rates = {name: state.learning_rates.get(name, rate) for name, rate in joined.learning_rates.items()}
        base_rates = {**state.base_rates, **{name: rates[name] for name in rates if name in new}}
        memory = state.schedule or self.schedule.begin(next(iter(base_rates.values())))
        with torch.no_grad():
            rates.update({name: self.schedule.initial(base_rates[name], memory) for name in base_rates if name in new})
        return self.optimizer.with_learning_rates(joined._replace(base_rates=base_rates, schedule=memory), rates)

    def update(self, grads: Grads, state: OptimizerState, params: Params) -> tuple[dict[str, Tensor], OptimizerState]:
        """Return parameters and state after one step of the optimizer."""
        return self.optimizer.update(grads, state, params)

    def update_(self, grads: Grads, state: OptimizerState, params: Params, *, closure: Closure | None = None) -> None:
        """Take one step of the optimizer in place."""
        self.optimizer.update_(grads, state, params, closure=closure)

    def learning_rate(self, state: OptimizerState, name: str) -> Tensor:
        """Return the learning rate that the next step of a parameter uses."""
        return self.optimizer.learning_rate(state, name)

    def with_learning_rates(self, state: OptimizerState, rates: Mapping[str, Tensor]) -> OptimizerState:
        """Return the state with these learning rates, until the next epoch."""
        return self.optimizer.with_learning_rates(state, rates)

    def scheduler_step(self, state: OptimizerState, loss: Tensor | None = None) -> OptimizerState:
        """Return the state at the next epoch's learning rates.

        Raises:
            ValueError: the schedule looks at the loss, and there is none.
        """
        if not state.schedule:
            return state  # no parameter has joined, so there is no rate to change
        if self.schedule.requires_loss and loss is None:
            raise ValueError(f"{self.schedule.name} decides by the loss: call scheduler_step(state, loss)")
        with torch.no_grad():
            rates, memory = self.schedule.advance(state.learning_rates, state.base_rates, state.schedule, loss)
        return self.optimizer.with_learning_rates(state._replace(schedule=memory), rates)

    def state_to_payload(self, state: OptimizerState) -> dict[str, Any]:
        """Return the optimizer's payload and the schedule's memory."""
        return {
            "format": checkpoint.FORMAT,
            "optimizer": self.name,
            "inner": self.optimizer.state_to_payload(state),
            "base_rates": checkpoint.copied(state.base_rates),
            "schedule": checkpoint.copied(state.schedule),
        }

    def state_from_payload(self, payload: Mapping[str, Any], params: Params) -> OptimizerState:
        """Return the state that `state_to_payload` wrote down; training continues bit for bit."""
        payload = checkpoint.check_header(self.name, payload)
        inner = payload.get("inner")
        if not isinstance(inner, Mapping):
            raise checkpoint.misfit(self.name, f"expected the state of {self.optimizer.name}")
        state = self.optimizer.state_from_payload(inner, params)
        rates = state.learning_rates
        base_rates = checkpoint.tensors(self.name, "base_rates", payload.get("base_rates"), rates)
        like = self.schedule.begin(next(iter(rates.values()))) if rates else {}
        memory = checkpoint.tensors(self.name, "schedule", payload.get("schedule"), like)
        for name, rate in base_rates.items():
            checkpoint.check_numbers(self.name, f"base_rates[{name!r}]", rate)
        if "epoch" in memory:
            checkpoint.check_counts(self.name, "the schedule's epoch", memory["epoch"])
        return self.optimizer.with_learning_rates(state._replace(base_rates=base_rates, schedule=memory), rates)


def scheduled_from(
    schedule: type[Schedule], arguments: Mapping[str, Any], clip_args: ClipLike = None, **keywords: object
) -> Scheduled:
    """Return what Pyro's form of a schedule describes.

    Args:
        schedule: class of the schedule.
        arguments: ``"optimizer"``, a class of ``aleator.optim`` or ``torch.optim``; ``"optim_args"``, its options;
            all else goes to the schedule.
        clip_args: gradient clipping of the optimizer.
        keywords: more arguments of the schedule.
    """
    rest = {**arguments, **keywords}
    optimizer, options = rest.pop("optimizer", None), rest.pop("optim_args", None)
    if optimizer is None:
        raise TypeError(f"{schedule.__name__}: the dict must name an 'optimizer' and its 'optim_args'")
    fields = getattr(schedule, "__dataclass_fields__", {})
    check_known(schedule.__name__, rest, fields)
    return Scheduled(configure(optimizer, options, clip_args), schedule(**rest))
