"""A pure step in compiled form: one graph per program, shape and switch, the eager step where there is none."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from operator import is_
from typing import Any, NamedTuple, final, get_args

from torch import Tensor
from torch.utils._pytree import tree_flatten, tree_unflatten

from aleator.infer.step import Step
from aleator.params import ParamStore, current_store
from aleator.randomness import is_interpreted
from aleator.runtime import STACK
from aleator_jit_estimators.addressed import Addressed
from aleator_jit_estimators.background import Building
from aleator_jit_estimators.disk_cache import DiskCache
from aleator_jit_estimators.kinds import ATOMS
from aleator_jit_estimators.loops import Loop
from aleator_jit_estimators.making import Backend, Call, Maker, Program
from aleator_jit_estimators.reached import Reached, reach
from aleator_jit_estimators.report import CompileReport
from aleator_jit_estimators.row_path import RowPath
from aleator_jit_estimators.state_path import AbstractStatePath
from aleator_jit_estimators.state_shape import StateShape
from aleator_jit_estimators.surroundings import surroundings
from aleator_jit_estimators.tensor_path import TensorPath
from aleator_jit_estimators.watch import describe
from aleator_svi_elbo.functional_state import SVIState

__all__ = ["Backend", "CompiledStep", "checked_backend"]

_MOST_PROGRAMS = 64
_TIMED = 20  # of the steps by a path so many are timed, and every call for several
_UNKNOWN = object()


def checked_backend(backend: str) -> Backend:
    """Return a backend's name; for ``"auto"`` the one that ``$ALEATOR_COMPILE_BACKEND`` names, where it names one.

    Raises:
        ValueError: it is none.
    """
    if backend == "auto":
        backend = os.environ.get("ALEATOR_COMPILE_BACKEND") or "auto"
    if backend not in get_args(Backend):
        raise ValueError(f"compile: backend must be one of {', '.join(get_args(Backend))}, but is {backend!r}")
    return backend  # type: ignore[return-value]  # looked up above


@final
class CompiledStep:
    """Calls like a ``pure_step``, ``(params, opt_state, buffers, args)``, and gives what it gives.

    Every tensor is an input of the compiled code: those too that the programs find in closures, globals and
    attributes, which are looked up at each call. All else that they find there is a
    key; another number is another program.

    Args:
        step: the step as it is.
        origins: what the step was made of; their closures and attributes say what it depends on.
        backend: ``"aot"``, ``"inductor"``, ``"eager"`` (the recorded graph, node by node), or ``"auto"``, ``"aot"``
            in the background.
        cache: where packages are kept.
    """

    def __init__(self, step: Step, origins: tuple[Any, ...], backend: Backend, cache: DiskCache | None = None) -> None:
        self._step = step
        self._origins = origins
        self._maker = Maker(step, backend, DiskCache() if cache is None else cache)
        self._programs: dict[tuple[Any, ...], Program | Building | None] = {}
        self._last: _Surveyed | None = None
        self._seen: Reached | None = None
        self._path: AbstractStatePath | None = None
        self._follows_states = False
        self._untimed = _TIMED
        self._loops: dict[int, Loop] = {}

    @property
    def report(self) -> CompileReport:
        """What compiling came to so far."""
        return self._maker.report

    def __call__(
        self,
        params: Mapping[str, Tensor],
        opt_state: Any,  # noqa: ANN401  # a pytree
        buffers: Mapping[str, Tensor],
        args: tuple[Any, ...],
    ) -> tuple[dict[str, Tensor], Any, dict[str, Tensor], Tensor]:
        """Take the step."""
        spent, begin = self.report.seconds, time.perf_counter()
        result = self.code(params, opt_state, buffers, args)
        if result is not None:
            if self.report.seconds == spent:  # the call has neither recorded nor built
                self.note_compiled(time.perf_counter() - begin)
            return result
        begin = time.perf_counter()
        result = self._step(params, opt_state, buffers, args)
        self.note_eager(time.perf_counter() - begin)
        return result

    def note_eager(self, seconds: float) -> None:
        """Note how long a step took uncompiled."""
        self._maker.note_step("eager_step", seconds)

    def note_compiled(self, seconds: float) -> None:
        """Note how long a step took by compiled code."""
        self._maker.note_step("compiled_step", seconds)

    def code(
        self,
        params: Mapping[str, Tensor],
        opt_state: Any,  # noqa: ANN401  # a pytree
        buffers: Mapping[str, Tensor],
        args: tuple[Any, ...],
    ) -> tuple[dict[str, Tensor], Any, dict[str, Tensor], Tensor] | None:
        """Take the step by compiled code, or return ``None`` where there is none, or none yet."""
        if is_interpreted() or STACK.get():
            return None
        call = self._taken_apart((dict(params), opt_state, dict(buffers), args))
        program = self._programs.get(call.key, _UNKNOWN)
        if not isinstance(program, Program):
            program = self._made(call, program)
            if not isinstance(program, Program):
                return None
        outputs = program.outputs(call.tensors, call.reached)
        result: Any = tree_unflatten(outputs, program.structure)
        if self._follows_states:
            shape = StateShape.of(program, call, args, result)
            if shape is not None:
                path = RowPath if isinstance(program.run, Addressed) else TensorPath
                loop = self._loop(program, call, len(outputs))
                self._path = path(program, call, args, shape, current_store(), loop)
        return result  # type: ignore[no-any-return]  # the step's own structure

    def advance(self, store: ParamStore, state: SVIState, args: tuple[Any, ...]) -> tuple[SVIState, Tensor] | None:
        """Take a step from the state that this one gave last, and return the state after it and the loss.

        Returns ``None`` for any other state, and where anything has changed: then :meth:`code` sees to it.
        """
        self._follows_states = True
        if self._path is None or not self._untimed:
            return None if self._path is None else self._path.take(store, state, args)
        self._untimed -= 1
        begin = time.perf_counter()
        result = self._path.take(store, state, args)
        if result is not None:
            self.note_compiled(time.perf_counter() - begin)
        return result

    def advance_many(
        self, store: ParamStore, state: SVIState, args: tuple[Any, ...], steps: int
    ) -> tuple[SVIState, Tensor] | None:
        """Take some steps as :meth:`advance` does, and return the state after them and their losses as a vector."""
        self._follows_states = True
        if self._path is None:
            return None
        begin = time.perf_counter()
        result = self._path.take_many(store, state, args, steps)
        if result is not None:
            self.note_compiled((time.perf_counter() - begin) / steps)
        return result

    def _loop(self, program: Program, call: Call, count: int) -> Loop | None:
        """Return the loop of a program, which lives as long as its program; ``None`` where states are too large."""
        if not Loop.fits(call, count - 1):
            return None
        if id(program) not in self._loops:
            self._loops[id(program)] = Loop(self._maker, self._step, call, count - 1)
        return self._loops[id(program)]

    def _taken_apart(self, arguments: tuple[Any, ...]) -> Call:
        leaves, structure = tree_flatten(arguments)
        tensors = [leaf.detach().resolve_neg().resolve_conj() for leaf in leaves if isinstance(leaf, Tensor)]
        first: dict[int, int] = {}
        described: list[Any] = []
        objects: list[Any] = []
        for at, leaf in enumerate(leaves):
            if isinstance(leaf, Tensor):
                described.append((first.setdefault(id(leaf), at), *describe(leaf)[:4]))
            elif type(leaf) in ATOMS:
                described.append((type(leaf).__name__, repr(leaf)))
            else:
                described.append("object")
                objects.append(leaf)
        reached = self._reached(objects)
        key = (str(structure), tuple(described), surroundings(), self._follows_states, reached.key)
        return Call(tensors, leaves, structure, reached, self._follows_states, key)

    def _reached(self, objects: list[Any]) -> Reached:
        """Return what the programs lead to: found anew only where something has changed."""
        constraints = {name: parameter.constraint for name, parameter in current_store()._parameters.items()}
        kept = tuple(constraints), tuple(constraints.values()), tuple(objects)
        last = self._last
        if last is not None and last.is_of(kept) and last.reached.is_current():
            return last.reached
        reached = reach(*self._origins, constraints=constraints, arguments=objects)
        self._last = _Surveyed(kept, reached)
        return reached

    def _made(self, call: Call, program: Program | Building | object | None) -> Program | Building | None:
        if program is None:
            return None
        if isinstance(program, Building):
            made = self._maker.advance(program)
        elif self._is_restless(call):
            return None
        else:
            arguments = tree_unflatten(call.leaves, call.structure)
            call, made = self._maker.make(call, lambda: self._taken_apart(arguments))
        self._programs[call.key] = made
        return made

    def _is_restless(self, call: Call) -> bool:
        """Tell whether every step is another program, so that compiling them would never end; says so."""
        seen, self._seen = self._seen, call.reached
        if len(self._programs) < _MOST_PROGRAMS:
            return False
        place = None if seen is None else seen.difference(call.reached)
        self._maker.say_uncompiled(
            f"{len(self._programs)} programs are compiled already, since {place or 'an argument that is no tensor'} "
            f"is another one from step to step; make it a tensor, and one program serves them all"
        )
        return True


class _Surveyed(NamedTuple):
    """A walk with what it began at beside the programs: kept, so that identities stay what they are."""

    kept: tuple[tuple[Any, ...], ...]
    reached: Reached

    def is_of(self, kept: tuple[tuple[Any, ...], ...]) -> bool:
        return all(
            len(mine) == len(its) and all(map(is_, mine, its)) for mine, its in zip(self.kept, kept, strict=True)
        )
