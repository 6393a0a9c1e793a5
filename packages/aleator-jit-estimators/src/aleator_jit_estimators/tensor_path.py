"""The way from state to state of code that takes and gives tensors."""

from __future__ import annotations

from typing import Any, final

import torch
from torch import Tensor

from aleator.params import ParamStore
from aleator_jit_estimators.loops import Loop
from aleator_jit_estimators.making import Call, Program
from aleator_jit_estimators.state_path import AbstractStatePath, generator_in
from aleator_jit_estimators.state_shape import StateShape, look_at
from aleator_svi_elbo.functional_state import SVIState, later, with_randomness

__all__ = ["TensorPath"]


@final
class TensorPath(AbstractStatePath):
    """Keeps a state as a list of tensors.

    Args:
        program: the compiled code.
        call: the call that led to it.
        args: the arguments of model and guide in it.
        shape: what the program's states have in common.
        store: knows the constraints.
        loop: several steps of the program at once.
    """

    __slots__ = ("_call", "_loop", "_now", "_program")

    def __init__(
        self,
        program: Program,
        call: Call,
        args: Any,  # noqa: ANN401  # a pytree
        shape: StateShape,
        store: ParamStore,
        loop: Loop | None,
    ) -> None:
        super().__init__(shape, look_at(program, call, args, store, None))
        self._program = program
        self._call = call
        self._loop = loop
        # The state given last, what it is made by, its leaves and its stream.
        self._now: tuple[SVIState | None, list[Any], list[Tensor], dict[str, Tensor]] = None, [None], [], {}

    def take(self, store: ParamStore, state: SVIState, args: Any) -> tuple[SVIState, Tensor] | None:  # noqa: ANN401  # pytrees
        """Return the state after one step and the loss; ``None`` where something is not what it was."""
        taken = self._taken(store, state, args, 1, is_single=True)
        return None if taken is None else (taken[0], taken[1][0])

    def take_many(
        self,
        store: ParamStore,
        state: SVIState,
        args: Any,  # noqa: ANN401  # pytrees
        steps: int,
    ) -> tuple[SVIState, Tensor] | None:
        """Return the state after some steps and their losses; what a step depends on is looked at once for all."""
        taken = self._taken(store, state, args, steps)
        return None if taken is None else (taken[0], torch.cat([each.reshape(-1) for each in taken[1]]))

    def _taken(
        self,
        store: ParamStore,
        state: SVIState,
        args: Any,  # noqa: ANN401  # pytrees
        steps: int,
        is_single: bool = False,
    ) -> tuple[SVIState, list[Tensor]] | None:
        try:
            turn = self._turn.pop()
        except IndexError:
            return None
        try:
            if not self._look(store._parameters, args, None):
                return None
            last, cell, leaves, stream = self._now
            if state is not last or len(cell) == 1:  # another one, or one that somebody has read, and may have changed
                found = self._shape.leaves(state)
                if found is None:
                    return None
                leaves, stream = found, state.rng
            given = [leaf.detach() for part in args for leaf in part if isinstance(leaf, Tensor)]
            leaves, stream, losses = self._advanced(store, leaves, stream, given, steps, is_single)
            cell = [self._items, leaves, stream]
            new = later(cell)
            self._now = new, cell, leaves, stream
            return new, losses
        finally:
            self._turn.append(turn)

    def _advanced(
        self,
        store: ParamStore,
        leaves: list[Tensor],
        stream: dict[str, Tensor],
        given: list[Tensor],
        steps: int,
        is_single: bool,
    ) -> tuple[list[Tensor], dict[str, Tensor], list[Tensor]]:
        noise, run = self._program.noise, self._program.run
        losses: list[Tensor] = []
        inputs = [*given, *self._elsewhere(self._program)]
        if noise is None:
            for _ in range(steps):
                every = [*leaves, *inputs]
                (*leaves, loss), stream = with_randomness(stream, lambda: self._program.drawing(every))  # noqa: B023  # called at once
                losses.append(loss)
            return leaves, stream, losses
        generator = generator_in(stream["cpu"])
        loop = None if is_single else self._loop
        is_ready = loop is not None and loop.is_ready(steps, lambda: store)
        with torch.no_grad():
            if loop is not None and is_ready:
                leaves, steps = self._looped(loop, leaves, given, generator, losses, steps)
            for _ in range(steps):
                *leaves, loss = run([*leaves, *inputs, noise.draw(generator)])
                losses.append(loss)
        return leaves, {"cpu": generator.get_state()}, losses

    def _looped(
        self,
        loop: Loop,
        leaves: list[Tensor],
        given: list[Tensor],
        generator: torch.Generator,
        losses: list[Tensor],
        steps: int,
    ) -> tuple[list[Tensor], int]:
        """Take most steps several at a time, and return the leaves after them and how many are left."""
        program = loop.program
        assert program is not None
        assert program.noise is not None
        given = [*given, *self._elsewhere(program)]
        for _ in range(steps // loop.steps):
            *leaves, found = program.run([*leaves, *given, program.noise.draw(generator)])
            losses.append(found)
        return leaves, steps % loop.steps

    def _elsewhere(self, program: Program) -> list[Tensor]:
        tensors = self._call.reached.tensors
        return [tensors[at].detach() for at in program.lifted]

    def _items(self, leaves: list[Tensor], stream: dict[str, Tensor]) -> Any:  # noqa: ANN401  # a state's items
        return *self._shape.items(leaves), dict(stream)
