"""The driver's end of a worker process: starts it, puts requests to it, ends it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import IO, Any

__all__ = ["Session", "WorkerError"]

WORKER = Path(__file__).resolve().parent / "worker.py"
ONE_THREAD = {name: "1" for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
QUIET = {"KINETO_LOG_LEVEL": "99"}  # the profiler tells of its starts and stops otherwise


class WorkerError(RuntimeError):
    """A worker could not do what was asked, or ended; the message holds the library, the request and the cause."""


class Session:
    """One library's worker process, for the extent of a ``with`` block.

    ``python`` is the interpreter of the environment that holds the library; ``own_sources`` lets the worker see this
    process's ``PYTHONPATH`` (for Aleator from its sources; a peer gets none); ``worker`` is the program it runs.
    """

    def __init__(self, library: str, python: str, *, own_sources: bool = False, worker: Path = WORKER) -> None:
        self.library = library
        self.python = python
        self.worker = worker
        self.environment: Mapping[str, str] = (
            {name: value for name, value in os.environ.items() if own_sources or name != "PYTHONPATH"}
            | ONE_THREAD
            | QUIET
        )
        self.process: subprocess.Popen[str] | None = None

    def __enter__(self) -> Session:
        self.process = subprocess.Popen(
            [self.python, str(self.worker), self.library],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=dict(self.environment),
            text=True,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is None:
            return
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()
        try:
            self.process.wait(timeout=10 if kind is None else 0.1)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def ask(self, *words: object) -> dict[str, Any]:
        """Put one request and wait for its answer; :class:`WorkerError` where there is none or it is an error."""
        request = " ".join(map(str, words))
        reader, writer = self._pipes()
        try:
            writer.write(request + "\n")
            writer.flush()
            line = reader.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise WorkerError(f"{self.library}: the worker ended at {request!r}; its standard error says why")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise WorkerError(f"{self.library}: {request!r} failed: {answer['error']}\n{answer['traceback']}")
        return answer

    def _pipes(self) -> tuple[IO[str], IO[str]]:
        if self.process is None or self.process.stdin is None or self.process.stdout is None:
            raise WorkerError(f"{self.library}: the worker runs only inside its with block")
        return self.process.stdout, self.process.stdin
