"""How a step comes by its code: recorded, found on disk, built here or in the background, or left as it is."""

from __future__ import annotations

import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, NamedTuple, final

import torch
from torch import Tensor
from torch.utils._pytree import TreeSpec, tree_unflatten

from aleator.errors import AleatorWarning
from aleator.infer.step import Step
from aleator.randomness import current, foreign_draw
from aleator_jit_estimators.background import Building, can_build_in_background
from aleator_jit_estimators.capture import Capture, capture
from aleator_jit_estimators.disk_cache import DiskCache
from aleator_jit_estimators.noise import Noise
from aleator_jit_estimators.package_name import package_name
from aleator_jit_estimators.reached import Reached
from aleator_jit_estimators.recorder import UnrecordableError, in_words
from aleator_jit_estimators.report import CompileReport
from aleator_jit_estimators.surroundings import interpreted_by
from aleator_jit_estimators.torch_packages import build_inductor, build_package, find_compiler, load_package
from aleator_svi_elbo.whole_step import NewParameterError

__all__ = ["Backend", "Call", "Maker", "Program"]

Backend = Literal["auto", "aot", "inductor", "eager"]
_TRIES = 3


class Call(NamedTuple):
    """The arguments of a step, taken apart, with what its program finds elsewhere.

    Attributes:
        tensors: those among the arguments, detached.
        leaves: all leaves of the arguments.
        structure: how the leaves make up the arguments.
        reached: what the programs lead to.
        maps_states: whether all but the last of what comes out goes in again.
        key: what compiled code depends on beside the contents of tensors.
    """

    tensors: list[Tensor]
    leaves: list[Any]
    structure: TreeSpec
    reached: Reached
    maps_states: bool
    key: tuple[Any, ...]


class Program(NamedTuple):
    """Compiled code.

    Attributes:
        run: takes the arguments' tensors, then the lifted ones, then the noise; gives a sequence of tensors.
        lifted: places among the reached tensors.
        structure: how the outputs make up a step's result.
        noise: makes the last input; ``None`` where the code draws for itself, or not at all.
    """

    run: Callable[[list[Tensor]], Any]
    lifted: tuple[int, ...]
    structure: TreeSpec
    noise: Noise | None

    @classmethod
    def of(cls, recorded: Capture, run: Callable[[list[Tensor]], Any]) -> Program:
        """Return the program that a graph was compiled to."""
        return cls(run, recorded.lifted, recorded.structure, recorded.noise)

    def outputs(self, tensors: list[Tensor], reached: Reached) -> list[Tensor]:
        """Run the code on the arguments' tensors and those it finds elsewhere; draws come from the context's stream."""
        inputs = [*tensors, *(reached.tensors[each].detach() for each in self.lifted)]
        if self.noise is not None:
            source = current()
            inputs.append(self.noise.draw(None if source is None else source.generator()))
            with torch.no_grad():
                return list(self.run(inputs))
        return self.drawing(inputs)

    def drawing(self, inputs: list[Tensor]) -> list[Tensor]:
        """Run code that draws for itself: it knows the process's generator only."""
        with torch.no_grad(), foreign_draw():
            return list(self.run(inputs))


@final
class Maker:
    """Makes the code of one step, for any arguments.

    Args:
        step: the step as it is.
        backend: how it is compiled.
        cache: where packages are kept.

    Attributes:
        report: what that came to so far.
    """

    def __init__(self, step: Step, backend: Backend, cache: DiskCache) -> None:
        self._step = step
        self._backend = backend
        self._cache = cache
        self.report = CompileReport()

    def make(self, call: Call, again: Callable[[], Call]) -> tuple[Call, Program | Building | None]:
        """Find or build the code for a call.

        Args:
            call: the arguments.
            again: takes the same arguments apart once more: a program's first run may change what it leads to.

        Returns:
            The call as it was recorded, and its code; ``None``, said once, where the step must stay as it is.
        """
        begin = time.perf_counter()
        try:
            call, made = self._made(call, again)
        except NewParameterError:
            raise
        except Exception as error:  # noqa: BLE001  # whatever goes wrong in recording or building, the eager step is right
            self.say_uncompiled(in_words(error))
            made = None
        self._spent(begin)
        return call, made

    def advance(self, building: Building, is_extra: bool = False) -> Program | Building | None:
        """Start a build when the steps that want it have taken their time, and take its result when it is there.

        Args:
            building: the build.
            is_extra: whether steps are compiled without it too, so that nobody needs to know where it fails.
        """
        begin = time.perf_counter()
        try:
            if not building.has_started:
                if building.pays(self.report.eager_step):
                    building.start()
                    self._count(captured=1, waiting=1)
            elif building.is_over():
                self._count(waiting=-1)
                entry = building.result()
                self._count(built=1)
                return Program.of(building.capture, load_package(str(entry.path), building.capture.form))
            else:
                return building
        except Exception as error:  # noqa: BLE001  # as in make
            if not is_extra:
                self.say_uncompiled(in_words(error))
            return None
        finally:
            self._spent(begin)
        return building

    def size(self, function: Callable[..., Any], tensors: list[Tensor], reached: Reached) -> int:
        """Return the number of operators that a function of tensors comes to."""
        return len(capture(function, tensors, reached.tensors).graph.graph.nodes)

    def begin(self, function: Callable[..., Any], tensors: list[Tensor], reached: Reached) -> Program | Building | None:
        """Record a function of tensors, find its code or have a child process build it; ``None`` where that fails."""
        begin = time.perf_counter()
        try:
            recorded = capture(function, tensors, reached.tensors, maps_states=True)
            if recorded.noise is None:
                return None
            if self._backend == "eager":
                graph = recorded.graph
                return Program.of(recorded, lambda inputs: graph(*inputs))
            name = package_name(recorded, reached.packages)
            entry = self._cache.find(name) if self._backend in ("auto", "aot") else None
            if entry is not None:
                self._count(loaded=1)
                return Program.of(recorded, load_package(str(entry.path), recorded.form))
            if self._backend == "inductor" or find_compiler() is None or not can_build_in_background():
                return None
            building = Building(recorded, name, self._cache)
            building.start()
            self._count(captured=1, waiting=1)
            return building
        except Exception:  # noqa: BLE001  # single steps go on as they are
            return None
        finally:
            self._spent(begin)

    def say_uncompiled(self, reason: str) -> None:
        """Warn, once, that a step stays as it is."""
        self._say_once(f"a step runs uncompiled, with the same results: {reason}")

    def note_step(self, field: str, seconds: float) -> None:
        """Note how long a step took, in the report's ``eager_step`` or ``compiled_step``."""
        if seconds < (getattr(self.report, field) or float("inf")):
            self.report = self.report._replace(**{field: seconds})  # type: ignore[arg-type]  # one of two fields

    def _made(self, call: Call, again: Callable[[], Call]) -> tuple[Call, Program | Building]:
        """Find the code of what is recorded, or build it once two recordings are the same.

        What no walk can see, such as a clock, gives another graph each time; a first run may also do more than others.
        """
        call, recorded = self._recorded(call, again)
        for _ in range(_TRIES):
            found = self._found(call, recorded)
            if found is not None:
                return call, found
            before = recorded.digest
            call, recorded = self._recorded(call, again)
            if recorded.digest == before:
                return call, self._built(call, recorded)
        raise UnrecordableError("runs of the program differ in their operators or numbers, not only in draws")

    def _recorded(self, call: Call, again: Callable[[], Call]) -> tuple[Call, Capture]:
        interpreter = interpreted_by()
        if interpreter is not None:
            raise UnrecordableError(interpreter)
        before = call
        for _ in range(_TRIES):
            if call.reached.refusal is not None:
                raise UnrecordableError(call.reached.refusal)
            recorded = capture(self._flat(call), call.tensors, call.reached.tensors, call.maps_states)
            before, call = call, again()
            if call.key == before.key:
                self._say_once(recorded.warning)
                return call, recorded
        changed = before.reached.difference(call.reached) or "its arguments"
        raise UnrecordableError(
            f"the program changes something while it runs, and a compiled step would not do that ({changed})"
        )

    def _found(self, call: Call, recorded: Capture) -> Program | None:
        if self._backend not in ("auto", "aot"):
            return None
        entry = self._cache.find(package_name(recorded, call.reached.packages))
        if entry is None:
            return None
        self._count(loaded=1)
        return Program.of(recorded, load_package(str(entry.path), recorded.form))

    def _built(self, call: Call, recorded: Capture) -> Program | Building:
        backend = self._backend
        if backend in ("auto", "aot") and find_compiler() is None:
            raise UnrecordableError("no C++ compiler was found (g++, or the one that CXX names)")
        name = package_name(recorded, call.reached.packages)
        if backend == "auto" and can_build_in_background():
            return Building(recorded, name, self._cache)
        self._count(captured=1, built=1)
        if backend == "eager":
            graph = recorded.graph
            return Program.of(recorded, lambda inputs: graph(*inputs))
        run = (
            build_inductor(recorded.graph, recorded.inputs) if backend == "inductor" else self._package(recorded, name)
        )
        return Program.of(recorded, run)

    def _package(self, recorded: Capture, name: str) -> Callable[[list[Tensor]], Any]:
        """Build a package, on disk where that is possible."""

        def build(path: str) -> None:
            build_package(recorded.graph, recorded.inputs, path, recorded.form)

        try:
            entry = self._cache.store(name, build, {})
            return load_package(str(entry.path), recorded.form)
        except OSError as error:
            self._say_once(f"the compiled step is not kept on disk: {error}")
        with tempfile.TemporaryDirectory(prefix="aleator-step-") as folder:
            path = str(Path(folder) / "step.pt2")
            build(path)
            return load_package(path, recorded.form)

    def _flat(self, call: Call) -> Callable[..., Any]:
        is_tensor = [isinstance(leaf, Tensor) for leaf in call.leaves]

        def flat(*tensors: Tensor) -> Any:  # noqa: ANN401  # what a step gives
            given = iter(tensors)
            leaves = [next(given) if of else leaf for of, leaf in zip(is_tensor, call.leaves, strict=True)]
            return self._step(*tree_unflatten(leaves, call.structure))

        return flat

    def _count(self, captured: int = 0, built: int = 0, loaded: int = 0, waiting: int = 0) -> None:
        report = self.report
        self.report = report._replace(
            captured=report.captured + captured,
            built=report.built + built,
            loaded=report.loaded + loaded,
            waiting=report.waiting + waiting,
        )

    def _spent(self, begin: float) -> None:
        self.report = self.report._replace(seconds=self.report.seconds + time.perf_counter() - begin)

    def _say_once(self, text: str | None) -> None:
        if text is not None and text not in self.report.eager:
            self.report = self.report._replace(eager=(*self.report.eager, text))
            warnings.warn(f"compile: {text}", AleatorWarning, stacklevel=2)
