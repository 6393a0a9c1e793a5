"""Packages built by a child process while the training goes on."""

from __future__ import annotations

import os
import pickle
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any, NamedTuple, final

import torch
from torch import Tensor
from torch.fx import GraphModule

from aleator_jit_estimators.addressed import Form
from aleator_jit_estimators.capture import Capture
from aleator_jit_estimators.disk_cache import DiskCache, Entry
from aleator_jit_estimators.torch_packages import build_package

__all__ = ["Building", "Job", "build_job", "can_build_in_background"]

_JOB = "job.pickle"
_LOG = "log.txt"
_LEAST = 0.5  # seconds


class Job(NamedTuple):
    """What a child process needs to know; the contents of the inputs do not matter.

    Attributes:
        name: the package's name.
        graph: the recorded graph.
        inputs: shape, strides, dtype and device of each input.
        threads: how many threads the code is to use.
        deterministic: torch's switch of that name.
        precision: torch's precision of float32 matrix products.
        form: how the code may be called by addresses.
    """

    name: str
    graph: GraphModule
    inputs: tuple[tuple[Any, ...], ...]
    threads: int
    deterministic: bool
    precision: str
    form: Form | None = None


def can_build_in_background() -> bool:
    """Tell whether this system can start a process without copying this one."""
    return hasattr(os, "posix_spawn")


@final
class Building:
    """A package that is being built, or is about to be.

    The child outlives this process where that ends first: then the package is there for the next one. It works in a
    folder of its own and puts the package in place at once, so that a killed child leaves nothing half-made.

    Args:
        capture: the graph.
        name: the package's name.
        cache: where it will lie.
    """

    def __init__(self, capture: Capture, name: str, cache: DiskCache) -> None:
        self.capture = capture
        self._name = name
        self._cache = cache
        self._folder: Path | None = None
        self.pid = 0
        self._calls = 0
        self._status: int | None = None

    @property
    def has_started(self) -> bool:
        """Whether a child was started."""
        return self.pid != 0

    def pays(self, seconds: float) -> bool:
        """Count a call that runs uncompiled, and tell whether such calls have taken long enough to begin a build.

        A build takes some fifteen seconds of a core: what is over before is better left alone.

        Args:
            seconds: what one of the calls takes.
        """
        self._calls += 1
        return self._calls * seconds >= _LEAST

    def start(self) -> None:
        """Hand the graph to a child process.

        Raises:
            OSError: the cache's folder cannot be used, or no process can be started.
        """
        self._cache.prepare()
        folder = Path(tempfile.mkdtemp(prefix=".building-", dir=self._cache.folder))
        self._folder = folder
        job = Job(
            self._name,
            self.capture.graph,
            tuple(_description(value) for value in self.capture.inputs),
            torch.get_num_threads(),
            torch.are_deterministic_algorithms_enabled(),
            torch.get_float32_matmul_precision(),
            self.capture.form,
        )
        (folder / _JOB).write_bytes(pickle.dumps(job))
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONWARNINGS"}
        environment["PYTHONPATH"] = os.pathsep.join(path for path in sys.path if path)
        write = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
        self.pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-m", "aleator_jit_estimators", "build", str(folder)],
            environment,
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_OPEN, 2, str(folder / _LOG), write, 0o600),
            ],
            setpgroup=0,  # an interrupt from the keyboard is for this process alone
        )

    def is_over(self) -> bool:
        """Tell whether the child has ended; never waits."""
        if self._status is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:  # waited for elsewhere, or this is a fork of the child's parent
                pid, status = self.pid, 0
            self._status = status if pid else None
        return self._status is not None

    def result(self) -> Entry:
        """Return the package.

        Raises:
            RuntimeError: there is none, with what the child said last.
        """
        said = self._last_words()
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)
        entry = self._cache.find(self._name)
        if entry is None:
            raise RuntimeError(f"building in the background failed: {said}")
        return entry

    def _last_words(self) -> str:
        try:
            lines = ((self._folder or Path()) / _LOG).read_text(encoding="utf-8", errors="replace").strip().splitlines()
        except OSError:
            lines = []
        return lines[-1] if lines else f"the child process ended with status {self._status}"


def build_job(folder: Path) -> None:
    """Build what a job in a folder describes, and keep it; what a child process does.

    Builds take turns. Where two processes want the same package, the second finds it there.
    """
    cache = DiskCache(folder.parent)
    if not cache.is_private() or folder.stat().st_uid != os.getuid():
        raise PermissionError(f"{folder.parent} is open to others; nothing is read from it")
    job: Job = pickle.loads((folder / _JOB).read_bytes())  # our own, in a folder that is closed to others
    os.nice(5)
    torch.set_num_threads(job.threads)
    torch.use_deterministic_algorithms(job.deterministic)
    torch.set_float32_matmul_precision(job.precision)
    inputs = tuple(_like(each) for each in job.inputs)
    with cache.locked():
        if cache.find(job.name) is None:
            cache.store(job.name, lambda path: build_package(job.graph, inputs, path, job.form), {})
    shutil.rmtree(folder, ignore_errors=True)


def _description(value: Tensor) -> tuple[Any, ...]:
    return tuple(value.shape), value.stride(), value.dtype, str(value.device)


def _like(description: tuple[Any, ...]) -> Tensor:
    shape, stride, dtype, device = description
    return torch.empty_strided(shape, stride, dtype=dtype, device=device)
