"""From a state to the next one without taking anything apart: for a state that the same program gave before."""

from __future__ import annotations

from operator import is_
from typing import Any, final

from torch import Tensor

from aleator.optim import OptimizerState
from aleator.params import ParamStore
from aleator.randomness import is_interpreted
from aleator.runtime import STACK
from aleator_jit_estimators.kinds import ATOMS
from aleator_jit_estimators.making import Call, Program
from aleator_jit_estimators.surroundings import surroundings
from aleator_jit_estimators.watch import describe
from aleator_svi_elbo.functional_state import SVIState, with_randomness

__all__ = ["StatePath"]

Result = tuple[dict[str, Tensor], OptimizerState, dict[str, Tensor], Tensor]


@final
class StatePath:
    """A program and the state that it gave last.

    A state is known by the identity of its dicts and tensors; all that the program depends on beside it is looked at in
    each call (or once for several steps), by identity too. Where anything is another one, :meth:`take` declines and the
    step is taken apart as the first one was.

    Args:
        program: the compiled code.
        call: the call that led to it.
        args: the arguments of model and guide in it.
        result: what it gave.
        store: knows the constraints.
    """

    __slots__ = (
        "_args", "_buffers", "_leaves", "_lifted", "_names", "_optim_state", "_parameters", "_params", "_program",
        "_reached", "_slots", "_surroundings",
    )  # fmt: skip  # a line each would be twelve

    def __init__(self, program: Program, call: Call, args: Any, result: Result, store: ParamStore) -> None:  # noqa: ANN401  # pytrees
        self._program = program
        self._reached = call.reached
        self._lifted = [call.reached.tensors[each] for each in program.lifted]
        self._surroundings = surroundings()
        self._parameters = tuple(store._parameters.values())
        self._args = [(leaf, describe(leaf) if isinstance(leaf, Tensor) else None) for part in args for leaf in part]
        state = result[1]
        self._slots = [(name, tuple(slots)) for name, slots in state.slots.items()]
        self._names = tuple(map(tuple, (result[0], *state[1:4], result[2])))
        self._remember(result[0], result[1], result[2])

    @staticmethod
    def fits(program: Program, call: Call, args: Any, result: Result) -> bool:  # noqa: ANN401  # pytrees
        """Tell whether states keep their form, so that one step's outputs are the next one's inputs."""
        if not (isinstance(args, tuple) and len(args) == 2 and all(type(part) is tuple for part in args)):
            return False
        plain = all(isinstance(leaf, Tensor) or type(leaf) in ATOMS for part in args for leaf in part)
        state = result[1]
        if not plain or type(state) is not OptimizerState or state.eager:
            return False
        if any(call.structure.child(at) != program.structure.child(at) for at in range(3)):
            return False
        before = [leaf for leaf in call.leaves if isinstance(leaf, Tensor)]
        after = _leaves(result[0], state, result[2])
        return all(describe(one)[:4] == describe(other)[:4] for one, other in zip(after, before, strict=False))

    def take(self, store: ParamStore, state: SVIState, args: Any, steps: int) -> tuple[SVIState, list[Tensor]] | None:  # noqa: ANN401  # pytrees
        """Return the state after some steps and their losses; ``None`` where something is not what it was."""
        params, optim_state, buffers, stream = state
        if params is not self._params or optim_state is not self._optim_state or buffers is not self._buffers:
            return None
        leaves = _leaves(params, optim_state, buffers)
        if len(leaves) != len(self._leaves) or not all(map(is_, leaves, self._leaves)):
            return None
        found = self._found(store, args)
        if found is None or len(stream) != 1 or "cpu" not in stream:
            return None
        if self._program.noise is None:
            (leaves, losses), stream = with_randomness(stream, lambda: self._drawing(leaves, found, steps))
            return self._state(leaves, stream), losses
        noise, run = self._program.noise, self._program.run
        generator = noise.generator(stream["cpu"])
        losses = []
        for _ in range(steps):
            *leaves, loss = run([*leaves, *found, noise.draw(generator)])
            losses.append(loss)
        return self._state(leaves, {"cpu": generator.get_state()}), losses

    def _drawing(self, leaves: list[Tensor], found: list[Tensor], steps: int) -> tuple[list[Tensor], list[Tensor]]:
        losses = []
        for _ in range(steps):
            *leaves, loss = self._program.drawing([*leaves, *found])
            losses.append(loss)
        return leaves, losses

    def _found(self, store: ParamStore, args: Any) -> list[Tensor] | None:  # noqa: ANN401  # pytrees
        """Return the inputs after the state's, where they and all else still are as the program expects them."""
        if is_interpreted() or STACK.get() or surroundings() != self._surroundings:
            return None
        parameters = store._parameters
        if len(parameters) != len(self._parameters) or not all(map(is_, parameters.values(), self._parameters)):
            return None
        given = [leaf for part in args for leaf in part]
        if len(given) != len(self._args) or not self._reached.is_current():
            return None
        inputs = []
        for leaf, (last, description) in zip(given, self._args, strict=True):
            if description is None:
                if leaf is not last:
                    return None
            elif not isinstance(leaf, Tensor) or describe(leaf) != description:
                return None
            else:
                inputs.append(leaf)
        inputs += self._lifted
        return [each.detach() if each.requires_grad else each for each in inputs]

    def _state(self, leaves: list[Tensor], stream: dict[str, Tensor]) -> SVIState:
        """Put outputs together, and remember them as the state that was given last."""
        found = iter(leaves)
        names = self._names
        params = dict(zip(names[0], found))  # noqa: B905  # the names end first, the outputs go on
        slots = {name: dict(zip(keys, found)) for name, keys in self._slots}  # noqa: B905  # as above
        rates, base, schedule, buffers = (dict(zip(each, found)) for each in names[1:])  # noqa: B905  # as above
        state = OptimizerState(slots, rates, base, schedule, ())
        self._remember(params, state, buffers)
        return SVIState(params, state, buffers, stream)

    def _remember(self, params: dict[str, Tensor], optim_state: OptimizerState, buffers: dict[str, Tensor]) -> None:
        self._params, self._optim_state, self._buffers = params, optim_state, buffers
        self._leaves = _leaves(params, optim_state, buffers)


def _leaves(params: dict[str, Tensor], optim_state: OptimizerState, buffers: dict[str, Tensor]) -> list[Tensor]:
    leaves = [*params.values()]
    for slots in optim_state.slots.values():
        leaves += slots.values()
    leaves += optim_state.learning_rates.values()
    leaves += optim_state.base_rates.values()
    leaves += optim_state.schedule.values()
    leaves += buffers.values()
    return leaves
