"""A pure step in compiled form: one graph per program, shape and switch, the eager step where there is none."""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, final, get_args

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_flatten, tree_unflatten

from aleator.errors import AleatorWarning
from aleator.infer.step import Step
from aleator.params import ParamStore, current_store
from aleator.randomness import foreign_draw, is_interpreted
from aleator.runtime import STACK
from aleator_jit_estimators.capture import Capture, capture
from aleator_jit_estimators.disk_cache import DiskCache, digest
from aleator_jit_estimators.reached import Reached, reach
from aleator_jit_estimators.torch_packages import build_inductor, build_package, find_compiler, load_package

__all__ = ["Backend", "CompileReport", "CompiledStep", "checked_backend"]

Backend = Literal["auto", "aot", "inductor", "eager"]


class CompileReport(NamedTuple):
    """What compiling came to so far.

    Attributes:
        captured: how many graphs were recorded.
        built: how many of them were built, by whatever backend.
        loaded: how many steps came from the disk without recording anything.
        seconds: spent on all of that.
        eager: why steps run uncompiled, where they do.
    """

    captured: int = 0
    built: int = 0
    loaded: int = 0
    seconds: float = 0.0
    eager: tuple[str, ...] = ()


class _Call(NamedTuple):
    """The arguments of a step, taken apart."""

    tensors: list[Tensor]
    leaves: list[Any]
    structure: TreeSpec
    reached: Reached
    key: tuple[Any, ...]


class _Program(NamedTuple):
    run: Callable[[list[Tensor]], Any]
    lifted: tuple[int | Tensor, ...]
    structure: TreeSpec | None


def checked_backend(backend: str) -> Backend:
    """Return a backend's name.

    Raises:
        ValueError: it is none.
    """
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
        backend: ``"aot"``, ``"inductor"``, ``"eager"`` (the recorded graph, node by node), or ``"auto"``.
        cache: where packages are kept.
    """

    def __init__(self, step: Step, origins: tuple[Any, ...], backend: Backend, cache: DiskCache | None = None) -> None:
        self._step = step
        self._origins = origins
        self._backend = backend
        self._cache = DiskCache() if cache is None else cache
        self._programs: dict[tuple[Any, ...], _Program | None] = {}
        self._kept: list[Any] = []
        self.report = CompileReport()

    def __call__(
        self,
        params: Mapping[str, Tensor],
        opt_state: Any,  # noqa: ANN401  # a pytree
        buffers: Mapping[str, Tensor],
        args: tuple[Any, ...],
    ) -> tuple[dict[str, Tensor], Any, dict[str, Tensor], Tensor]:
        """Take the step."""
        if is_interpreted() or STACK.get():
            return self._step(params, opt_state, buffers, args)
        call = self._taken_apart((dict(params), opt_state, dict(buffers), args))
        if call.key not in self._programs:
            self._programs[call.key] = self._made(call)
            self._kept.append(call.reached.kept)
        program = self._programs[call.key]
        if program is None:
            return self._step(params, opt_state, buffers, args)
        inputs = list(call.tensors)
        for each in program.lifted:
            inputs.append((call.reached.tensors[each] if isinstance(each, int) else each).detach())
        with torch.no_grad(), foreign_draw():
            outputs = list(program.run(inputs))
        if program.structure is None:
            return _like_the_inputs(call.structure, outputs)
        return tree_unflatten(outputs, program.structure)  # type: ignore[no-any-return]  # the step's own structure

    def _taken_apart(self, arguments: tuple[Any, ...]) -> _Call:
        leaves, structure = tree_flatten(arguments)
        tensors = [leaf.detach() for leaf in leaves if isinstance(leaf, Tensor)]
        first: dict[int, int] = {}
        described: list[Any] = []
        for at, leaf in enumerate(leaves):
            if isinstance(leaf, Tensor):
                same = first.setdefault(id(leaf), at)
                described.append((tuple(leaf.shape), leaf.stride(), leaf.dtype, str(leaf.device), same))
            else:
                described.append((type(leaf).__qualname__, repr(leaf)))
        reached = reach(*self._origins, _constraints(current_store()))
        key = (str(structure), tuple(described), torch.get_default_dtype(), reached.key)
        return _Call(tensors, leaves, structure, reached, key)

    def _made(self, call: _Call) -> _Program | None:
        """Find or build the code of a step; ``None``, said once, where the step must stay as it is."""
        begin = time.perf_counter()
        try:
            program = self._found(call)
            if program is None:
                program = self._built(call)
        except Exception as error:  # noqa: BLE001  # whatever goes wrong in recording or building, the eager step is right
            self._say(f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:300]}")
            program = None
        self.report = self.report._replace(seconds=self.report.seconds + time.perf_counter() - begin)
        return program

    def _found(self, call: _Call) -> _Program | None:
        if self._backend not in ("auto", "aot") or not call.reached.portable:
            return None
        entry = self._cache.find(digest(call.key))
        if entry is None:
            return None
        self.report = self.report._replace(loaded=self.report.loaded + 1)
        return _Program(load_package(str(entry.path)), tuple(entry.notes["lifted"]), None)

    def _built(self, call: _Call) -> _Program | None:
        backend = self._backend
        if backend in ("auto", "aot") and find_compiler() is None:
            self._say("no C++ compiler was found (g++, or the one that CXX names)")
            return None
        out: list[TreeSpec] = []
        recorded = capture(self._flat(call, out), call.tensors, call.reached.tensors)
        self.report = self.report._replace(captured=self.report.captured + 1, built=self.report.built + 1)
        if backend == "eager":
            graph = recorded.graph
            return _Program(lambda inputs: graph(*inputs), recorded.lifted, out[0])
        if backend == "inductor":
            return _Program(build_inductor(recorded), recorded.lifted, out[0])
        return _Program(self._package(call, recorded, out[0]), recorded.lifted, out[0])

    def _package(self, call: _Call, recorded: Capture, out: TreeSpec) -> Callable[[list[Tensor]], Any]:
        """Build a package, and keep it on disk where another process could find out what to do with it."""
        can_be_found = call.reached.portable and all(isinstance(each, int) for each in recorded.lifted)
        same = [str(out.child(at)) == str(call.structure.child(at)) for at in range(3)]
        if can_be_found and all(same):
            try:
                notes = {"lifted": list(recorded.lifted)}
                entry = self._cache.store(digest(call.key), lambda path: build_package(recorded, path), notes)
                return load_package(str(entry.path))
            except OSError as error:
                self._say_once(f"the compiled step is not kept on disk: {error}")
        with tempfile.TemporaryDirectory(prefix="aleator-step-") as folder:
            path = str(Path(folder) / "step.pt2")
            build_package(recorded, path)
            return load_package(path)

    def _flat(self, call: _Call, out: list[TreeSpec]) -> Callable[..., tuple[Tensor, ...]]:
        is_tensor = [isinstance(leaf, Tensor) for leaf in call.leaves]

        def flat(*tensors: Tensor) -> tuple[Tensor, ...]:
            given = iter(tensors)
            leaves = [next(given) if of else leaf for of, leaf in zip(is_tensor, call.leaves, strict=True)]
            values, structure = tree_flatten(self._step(*tree_unflatten(leaves, call.structure)))
            out.append(structure)
            return tuple(values)

        return flat

    def _say(self, reason: str) -> None:
        self._say_once(f"a step runs uncompiled, with the same results: {reason}")

    def _say_once(self, text: str) -> None:
        if text not in self.report.eager:
            self.report = self.report._replace(eager=(*self.report.eager, text))
            warnings.warn(f"compile: {text}", AleatorWarning, stacklevel=2)


def _constraints(store: ParamStore) -> dict[str, Any]:
    """Return the constraints that a store has for its names, or that a bound one has for those behind it."""
    return {name: parameter.constraint for name, parameter in store._parameters.items()}


def _like_the_inputs(
    structure: TreeSpec, outputs: list[Tensor]
) -> tuple[dict[str, Tensor], Any, dict[str, Tensor], Tensor]:
    """Put outputs together where parameters, optimizer and buffers are as many as they were."""
    parts, at = [], 0
    for part in range(3):
        spec = structure.child(part)
        parts.append(tree_unflatten(outputs[at : at + spec.num_leaves], spec))
        at += spec.num_leaves
    return parts[0], parts[1], parts[2], outputs[at]
