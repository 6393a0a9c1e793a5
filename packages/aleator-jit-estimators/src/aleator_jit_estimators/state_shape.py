"""What all states of a program have in common: names, shapes and dtypes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from torch import Tensor

from aleator.optim import OptimizerState
from aleator.params import ParamStore
from aleator_jit_estimators.kinds import ATOMS
from aleator_jit_estimators.making import Call, Program
from aleator_jit_estimators.surroundings import say_surroundings
from aleator_jit_estimators.watch import describe, say_form
from aleator_svi_elbo.functional_state import SVIState

__all__ = ["Look", "StateShape", "look_at"]

Result = tuple[dict[str, Tensor], OptimizerState, dict[str, Tensor], Tensor]
Look = Callable[[Any, Any, Any], bool]


class StateShape(NamedTuple):
    """The names in a state, and the form of each of its leaves.

    Attributes:
        params, slots, rates, base, schedule, buffers: keys of a state's dicts, in the order of the leaves.
        forms: what describes each leaf.
    """

    params: tuple[str, ...]
    slots: tuple[tuple[str, tuple[str, ...]], ...]
    rates: tuple[str, ...]
    base: tuple[str, ...]
    schedule: tuple[str, ...]
    buffers: tuple[str, ...]
    forms: tuple[tuple[Any, ...], ...]

    @classmethod
    def of(cls, program: Program, call: Call, args: Any, result: Result) -> StateShape | None:  # noqa: ANN401  # pytrees
        """Return the shape of a program's states; ``None`` where one step's outputs cannot be the next one's inputs."""
        if not (isinstance(args, tuple) and len(args) == 2 and all(type(part) is tuple for part in args)):
            return None
        plain = all(isinstance(leaf, Tensor) or type(leaf) in ATOMS for part in args for leaf in part)
        params, state, buffers, _ = result
        if not plain or type(state) is not OptimizerState or state.eager:
            return None
        if any(call.structure.child(at) != program.structure.child(at) for at in range(3)):
            return None
        leaves = _leaves(params, state, buffers)
        forms = tuple(map(_form, leaves))
        if forms != tuple(map(_form, call.tensors[: len(leaves)])):
            return None
        slots = tuple((name, tuple(each)) for name, each in state.slots.items())
        rates, base, schedule = map(tuple, (state.learning_rates, state.base_rates, state.schedule))
        return cls(tuple(params), slots, rates, base, schedule, tuple(buffers), forms)

    def items(self, leaves: Sequence[Tensor]) -> tuple[dict[str, Tensor], OptimizerState, dict[str, Tensor]]:
        """Return parameters, optimizer state and buffers of these leaves."""
        found = iter(leaves)
        params = {name: next(found) for name in self.params}
        slots = {name: {key: next(found) for key in keys} for name, keys in self.slots}
        parts = [{name: next(found) for name in names} for names in self[2:6]]
        return params, OptimizerState(slots, parts[0], parts[1], parts[2], ()), parts[3]

    def leaves(self, state: SVIState) -> list[Tensor] | None:
        """Return the leaves of a state, detached; ``None`` for a state of another shape."""
        params, optim_state, buffers, stream = state
        if type(optim_state) is not OptimizerState or optim_state.eager or [*stream] != ["cpu"]:
            return None
        names = tuple(params), optim_state.slots, optim_state.learning_rates, optim_state.base_rates
        if tuple(map(tuple, (*names, optim_state.schedule, buffers))) != (
            self.params, tuple(name for name, _ in self.slots), *self[2:6],
        ):  # fmt: skip  # a line each would be eleven
            return None
        if any(tuple(optim_state.slots[name]) != keys for name, keys in self.slots):
            return None
        leaves = _leaves(params, optim_state, buffers)
        if not all(isinstance(leaf, Tensor) for leaf in leaves) or tuple(map(_form, leaves)) != self.forms:
            return None
        return [leaf.detach() for leaf in leaves]


def look_at(
    program: Program,
    call: Call,
    args: Any,  # noqa: ANN401  # a pytree
    store: ParamStore,
    words: Sequence[int] | None,
) -> Look:
    """Return what tells, before a step, that all but the state is as the program expects it; by identity, at once.

    It takes the store's parameters, the arguments of model and guide, and a table of addresses.

    Args:
        program: the code.
        call: the call that led to it.
        args: the arguments of model and guide in it.
        store: knows the constraints.
        words: where the addresses of arguments, then of lifted tensors, go in the table; ``None`` without addresses.
    """
    conditions = call.reached.watch.conditions.copy()
    name = conditions.name
    say_surroundings(conditions, stands_alone=words is not None)
    conditions.say(f"len(parameters) == {len(store._parameters)}")
    for key, parameter in store._parameters.items():
        conditions.say(f"parameters[{key!r}] is {name(parameter)}")
    before = ["model_args, guide_args = args"]
    found: dict[str, Tensor] = {}
    for side, part in zip(("model_args", "guide_args"), args, strict=True):
        conditions.say(f"type({side}) is {name(tuple)}")
        names = [f"{side}_{at}" for at in range(len(part))]
        before.append(f"[{', '.join(names)}] = {side}")
        for each, leaf in zip(names, part, strict=True):
            if not isinstance(leaf, Tensor):
                conditions.say(f"{each} is {name(leaf)}")
                continue
            first = next((other for other, known in found.items() if known is leaf), None)
            found[each] = leaf
            conditions.say(f"type({each}) is {name(type(leaf))}" if first is None else f"{each} is {first}")
            if first is None:
                conditions.say(say_form(conditions, each, leaf))
    lifted = [call.reached.tensors[at] for at in program.lifted]
    for tensor in (*found.values(), *lifted):
        if tensor.is_neg() or tensor.is_conj():  # its address does not say what is in it
            return lambda parameters, args, table: False
    places = [*found, *map(name, lifted)]
    after = [] if words is None else [
        f"table[{word}] = {place}.data_ptr()" for word, place in zip(words, places, strict=True)
    ]  # fmt: skip  # three lines, not five
    return conditions.function(("parameters", "args", "table"), before, after)


def _form(leaf: Tensor) -> tuple[Any, ...]:
    described = describe(leaf)
    return *described[:4], *described[5:]


def _leaves(params: dict[str, Tensor], optim_state: OptimizerState, buffers: dict[str, Tensor]) -> list[Tensor]:
    leaves = [*params.values()]
    for slots in optim_state.slots.values():
        leaves += slots.values()
    leaves += optim_state.learning_rates.values()
    leaves += optim_state.base_rates.values()
    leaves += optim_state.schedule.values()
    leaves += buffers.values()
    return leaves
