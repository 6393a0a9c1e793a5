"""The way from state to state of code that is called by addresses."""

from __future__ import annotations

from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from aleator.params import ParamStore
from aleator_jit_estimators.addressed import Addressed, Caller
from aleator_jit_estimators.loops import Loop
from aleator_jit_estimators.making import Call, Program
from aleator_jit_estimators.state_path import AbstractStatePath
from aleator_jit_estimators.state_shape import StateShape, look_at
from aleator_svi_elbo.functional_state import SVIState, later

__all__ = ["RowPath"]

_MOST_ROWS = 64
_MOST_BYTES = 65_536  # of rows that are made at once, or of draws


class _Rows(NamedTuple):
    """Memory for states one after the other, each the next one of the one before, with their losses and draws.

    Attributes:
        memory: the rows.
        stream: the state of the generator before the draws.
        steps: for each row its address, the loss, the loss's address, and that of the draws of the step there.
    """

    memory: Tensor
    stream: Tensor
    steps: list[tuple[int, Tensor, int, int]]


# Where a path stands: the state given last and what it is made by (see SVIState.later), the address and the memory of
# its row, and the rows after it with how many of them are taken. An interrupt finds one such tuple or the next one.
_Now = tuple[SVIState | None, list[Any], int, Tensor | None, _Rows | None, int]


@final
class RowPath(AbstractStatePath):
    """Keeps states as rows of bytes; memory and draws are made for a number of them at once.

    Args:
        program: code that is called by addresses, and that draws nothing.
        call: the call that led to it.
        args: the arguments of model and guide in it.
        shape: what the program's states have in common.
        store: knows the constraints.
        loop: several steps of the program at once.
    """

    __slots__ = (
        "_caller", "_draw_size", "_draws", "_draws_begin", "_fills", "_generator", "_layout", "_loop", "_loss",
        "_loss_size", "_noise", "_now", "_number", "_reached", "_size",
    )  # fmt: skip  # a line each would be fifteen

    def __init__(
        self,
        program: Program,
        call: Call,
        args: Any,  # noqa: ANN401  # a pytree
        shape: StateShape,
        store: ParamStore,
        loop: Loop | None,
    ) -> None:
        code, noise = program.run, program.noise
        assert isinstance(code, Addressed)
        assert noise is not None
        self._caller = code.caller()
        super().__init__(shape, look_at(program, call, args, store, self._caller.rest[:-1]))
        self._reached = call.reached
        self._layout = code.form.layout
        self._loss = code.form.loss[1]
        self._noise = noise
        self._loop = loop
        self._size, self._loss_size = self._layout.size, self._loss.itemsize
        self._draw_size = noise.size * noise.dtype.itemsize
        self._number = max(1, min(_MOST_ROWS, _MOST_BYTES // max(self._draw_size, self._size)))
        self._draws, self._fills = noise.repeated(self._number).fills()
        self._draws_begin = self._draws.data_ptr()
        self._generator = torch.Generator()
        self._now: _Now = None, [None], 0, None, None, self._number

    def take(self, store: ParamStore, state: SVIState, args: Any) -> tuple[SVIState, Tensor] | None:  # noqa: ANN401  # pytrees
        """Return the state after one step and the loss; ``None`` where something is not what it was."""
        try:
            turn = self._turn.pop()
        except IndexError:
            return None
        try:
            caller = self._caller
            table = caller.table
            if not self._look(store._parameters, args, table):
                return None
            last, cell, begin, memory, rows, at = self._now
            if state is not last or len(cell) == 1:  # another one, or one that somebody has read, and may have changed
                memory = self._taken_up(state)
                if memory is None:
                    return None
                begin, at = memory.data_ptr(), self._number
            if rows is None or at == self._number:
                rows, at = self._begin_rows(), 0
            row, loss, loss_begin, table[caller.draws] = rows.steps[at]
            caller.step(begin, row, loss_begin)
            at += 1
            cell = [self._items, rows, at]
            new = later(cell)
            self._now = new, cell, row, rows.memory, rows, at
            return new, loss
        finally:
            self._turn.append(turn)

    def take_many(
        self,
        store: ParamStore,
        state: SVIState,
        args: Any,  # noqa: ANN401  # pytrees
        steps: int,
    ) -> tuple[SVIState, Tensor] | None:
        """Return the state after some steps and their losses; what a step depends on is looked at once for all."""
        try:
            turn = self._turn.pop()
        except IndexError:
            return None
        try:
            if not self._look(store._parameters, args, self._caller.table):
                return None
            row = self._continued(state)
            if row is None:
                return None
            losses = torch.empty(steps, dtype=self._loss, device="cpu")
            row = self._advanced(row, store, losses)
            cell = [self._items_of_one, row, self._generator.get_state()]
            new = later(cell)
            self._now = new, cell, row.data_ptr(), row, None, self._number
            return new, losses
        finally:
            self._turn.append(turn)

    def _advanced(self, row: Tensor, store: ParamStore, losses: Tensor) -> Tensor:
        """Take as many steps as there are losses, and return the row after them."""
        two = [torch.empty_like(row), torch.empty_like(row)]
        addresses = [each.data_ptr() for each in two]
        begin, loss, taken, generator = row.data_ptr(), losses.data_ptr(), 0, self._generator
        steps = losses.numel()
        if self._loop is not None and self._loop.is_ready(steps, lambda: store):
            program = self._loop.program
            if program is not None and program.noise is not None and isinstance(program.run, Addressed):
                vector, fills = program.noise.fills()
                caller = self._loop_caller(program, program.run, vector)
                for taken in range(1, steps // self._loop.steps + 1):
                    for fill in fills:
                        fill(generator=generator)
                    into = addresses[taken % 2]
                    caller.step(begin, into, loss)
                    begin, loss = into, loss + self._loop.steps * self._loss_size
                steps %= self._loop.steps
        vector, fills = self._noise.fills()
        caller = self._caller
        caller.table[caller.draws] = vector.data_ptr()
        for at in range(taken + 1, taken + steps + 1):
            for fill in fills:
                fill(generator=generator)
            into = addresses[at % 2]
            caller.step(begin, into, loss)
            begin, loss = into, loss + self._loss_size
        return two[addresses.index(begin)]

    def _loop_caller(self, program: Program, code: Addressed, vector: Tensor) -> Caller:
        """Return what runs a program of several steps on the same inputs as a single one's."""
        caller, single = code.caller(), self._caller
        arguments = len(single.rest) - 1 - len(program.lifted)
        for place, other in zip(caller.rest[:arguments], single.rest, strict=False):
            caller.table[place] = single.table[other]
        for place, at in zip(caller.rest[arguments:-1], program.lifted, strict=True):
            caller.table[place] = self._reached.tensors[at].data_ptr()
        caller.table[caller.draws] = vector.data_ptr()
        return caller

    def _begin_rows(self) -> _Rows:
        """Make room for the next states, and draw for the steps to them."""
        self._now = None, [None], 0, None, None, self._number  # should the draws be interrupted
        stream, number = self._generator.get_state(), self._number
        memory = torch.empty(number * self._size, dtype=torch.uint8, device="cpu")
        losses = torch.empty(number, dtype=self._loss, device="cpu")
        for fill in self._fills:
            fill(generator=self._generator)
        begin, losses_begin, draws = memory.data_ptr(), losses.data_ptr(), self._draws_begin
        steps = zip(
            range(begin, begin + number * self._size, self._size),
            [each.data for each in losses.unbind()],  # what is done to one of them has nothing to do with the others
            range(losses_begin, losses_begin + number * self._loss_size, self._loss_size),
            range(draws, draws + number * self._draw_size, self._draw_size),
            strict=True,
        )
        return _Rows(memory, stream, list(steps))

    def _taken_up(self, state: SVIState) -> Tensor | None:
        """Return a row that holds a state that is read, or not this path's, and let its stream go on."""
        leaves = self._shape.leaves(state)
        if leaves is None:
            return None
        self._now = None, [None], 0, None, None, self._number
        self._generator.set_state(state.rng["cpu"])
        return self._layout.joined(leaves)

    def _continued(self, state: SVIState) -> Tensor | None:
        """Return the row of a state, and let its stream go on; ``None`` for a state of another shape."""
        last, cell, _, memory, rows, at = self._now
        if state is not last or len(cell) == 1 or memory is None:
            return self._taken_up(state)
        self._now = None, [None], 0, None, None, self._number
        if rows is None:
            return memory  # the one row that several steps led to
        if at < self._number:
            self._generator.set_state(self._noise.after(rows.stream, at))
        return rows.memory[(at - 1) * self._size : at * self._size]

    def _items(self, rows: _Rows, at: int) -> Any:  # noqa: ANN401  # a state's items
        leaves = self._layout.apart(rows.memory[(at - 1) * self._size : at * self._size])
        return *self._shape.items(leaves), {"cpu": self._noise.after(rows.stream, at)}

    def _items_of_one(self, row: Tensor, stream: Tensor) -> Any:  # noqa: ANN401  # a state's items
        return *self._shape.items(self._layout.apart(row)), {"cpu": stream}
