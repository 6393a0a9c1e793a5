"""From a state to the next one without taking anything apart: for a state that the same program gave before."""

from __future__ import annotations

from operator import is_
from typing import Any, final

import torch
from torch import Tensor

from aleator.optim import OptimizerState
from aleator.params import ParamStore
from aleator.randomness import is_interpreted
from aleator.runtime import STACK
from aleator_jit_estimators.kinds import ATOMS
from aleator_jit_estimators.loops import Loop
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
        loop: several steps of the program at once.
    """

    __slots__ = (
        "_args", "_buffers", "_leaves", "_lifted", "_loop", "_names", "_optim_state", "_parameters", "_params",
        "_program", "_reached", "_slots", "_surroundings",
    )  # fmt: skip  # a line each would be twelve

    def __init__(
        self,
        program: Program,
        call: Call,
        args: Any,  # noqa: ANN401  # a pytree
        result: Result,
        store: ParamStore,
        loop: Loop | None,
    ) -> None:
        self._program = program
        self._reached = call.reached
        self._lifted = program.lifted
        self._loop = loop
        self._surroundings = surroundings()
        self._parameters = tuple(store._parameters.values())
        self._args = [(leaf, describe(leaf) if isinstance(leaf, Tensor) else None) for part in args for leaf in part]
        state = result[1]
        self._slots = [(name, tuple(slots)) for name, slots in state.slots.items()]
        self._names = tuple(map(tuple, (result[0], *state[1:4], result[2])))
        self._params, self._optim_state, self._buffers = result[0], result[1], result[2]
        self._leaves = _leaves(result[0], result[1], result[2])

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

    def take(self, store: ParamStore, state: SVIState, args: Any) -> tuple[SVIState, Tensor] | None:  # noqa: ANN401  # pytrees
        """Return the state after one step and the loss; ``None`` where something is not what it was."""
        leaves = self._own(state)
        given = None if leaves is None else self._given(store, args)
        if leaves is None or given is None:
            return None
        noise = self._program.noise
        given += self._elsewhere(self._lifted)
        if noise is None:
            inputs = [*leaves, *given]
            (*leaves, loss), stream = with_randomness(state.rng, lambda: self._program.drawing(inputs))
            return self._state(leaves, stream), loss
        generator = noise.generator(state.rng["cpu"])
        *leaves, loss = self._program.run([*leaves, *given, noise.draw(generator)])
        return self._state(leaves, {"cpu": generator.get_state()}), loss

    def take_many(
        self,
        store: ParamStore,
        state: SVIState,
        args: Any,  # noqa: ANN401  # pytrees
        steps: int,
    ) -> tuple[SVIState, Tensor] | None:
        """Return the state after some steps and their losses; what a step depends on is looked at once for all."""
        leaves = self._own(state)
        given = None if leaves is None else self._given(store, args)
        noise = self._program.noise
        if leaves is None or given is None or noise is None:
            return None
        generator = noise.generator(state.rng["cpu"])
        losses: list[Tensor] = []
        if self._loop is not None and self._loop.is_ready(steps, lambda: store):
            leaves, left = self._looped(leaves, given, generator, losses, steps)
        else:
            left = steps
        run, given = self._program.run, [*given, *self._elsewhere(self._lifted)]
        single = []
        for _ in range(left):
            *leaves, loss = run([*leaves, *given, noise.draw(generator)])
            single.append(loss)
        if single:
            losses.append(torch.stack(single))
        return self._state(leaves, {"cpu": generator.get_state()}), torch.cat(losses)

    def _looped(
        self, leaves: list[Tensor], given: list[Tensor], generator: torch.Generator, losses: list[Tensor], steps: int
    ) -> tuple[list[Tensor], int]:
        """Take most steps several at a time, and return the leaves after them and how many are left."""
        loop = self._loop
        assert loop is not None
        program = loop.program
        assert program is not None
        noise, run = program.noise, program.run
        assert noise is not None
        vectors = loop.joined(leaves)
        given = [*given, *self._elsewhere(program.lifted)]
        for _ in range(steps // loop.steps):
            *vectors, found = run([*vectors, *given, noise.draw(generator)])
            losses.append(found)
        return [leaf.clone() for leaf in loop.apart(vectors)], steps % loop.steps

    def _elsewhere(self, lifted: tuple[int, ...]) -> list[Tensor]:
        tensors = self._reached.tensors
        return [tensors[at].detach() if tensors[at].requires_grad else tensors[at] for at in lifted]

    def _own(self, state: SVIState) -> list[Tensor] | None:
        """Return the leaves of the state that was given last; ``None`` for any other."""
        params, optim_state, buffers, stream = state
        if params is not self._params or optim_state is not self._optim_state or buffers is not self._buffers:
            return None
        leaves = _leaves(params, optim_state, buffers)
        known = len(leaves) == len(self._leaves) and all(map(is_, leaves, self._leaves))
        return leaves if known and len(stream) == 1 and "cpu" in stream else None

    def _given(self, store: ParamStore, args: Any) -> list[Tensor] | None:  # noqa: ANN401  # pytrees
        """Return the tensors among the arguments, where they and all else still are as the program expects them."""
        if is_interpreted() or STACK.get() or surroundings() != self._surroundings:
            return None
        parameters = store._parameters
        if len(parameters) != len(self._parameters) or not all(map(is_, parameters.values(), self._parameters)):
            return None
        if not self._reached.is_current():
            return None
        model_args, guide_args = args
        given = [*model_args, *guide_args]
        if len(given) != len(self._args):
            return None
        inputs: list[Tensor] = []
        for leaf, (last, description) in zip(given, self._args, strict=True):
            if description is None:
                if leaf is not last:
                    return None
            elif not isinstance(leaf, Tensor) or describe(leaf) != description:
                return None
            else:
                inputs.append(leaf.detach() if leaf.requires_grad else leaf)
        return inputs

    def _state(self, leaves: list[Tensor], stream: dict[str, Tensor]) -> SVIState:
        """Put outputs together, and remember them as the state that was given last."""
        found = iter(leaves)
        names = self._names
        params = dict(zip(names[0], found))  # noqa: B905  # the names end first, the outputs go on
        slots = {name: dict(zip(keys, found)) for name, keys in self._slots}  # noqa: B905  # as above
        rates = dict(zip(names[1], found))  # noqa: B905  # as above
        base = dict(zip(names[2], found)) if names[2] else {}  # noqa: B905  # as above
        schedule = dict(zip(names[3], found)) if names[3] else {}  # noqa: B905  # as above
        buffers = dict(zip(names[4], found)) if names[4] else {}  # noqa: B905  # as above
        state = OptimizerState(slots, rates, base, schedule, ())
        self._params, self._optim_state, self._buffers, self._leaves = params, state, buffers, leaves
        return SVIState(params, state, buffers, stream)


def _leaves(params: dict[str, Tensor], optim_state: OptimizerState, buffers: dict[str, Tensor]) -> list[Tensor]:
    leaves = [*params.values()]
    for slots in optim_state.slots.values():
        leaves += slots.values()
    leaves += optim_state.learning_rates.values()
    if optim_state.base_rates or optim_state.schedule:
        leaves += optim_state.base_rates.values()
        leaves += optim_state.schedule.values()
    if buffers:
        leaves += buffers.values()
    return leaves
