"""One row of the table in one process: reads a request a line from standard input, answers each with a line of JSON.

Requests: ``prepare PROGRAM`` (states it and takes the first step), ``run PROGRAM N``, ``settle PROGRAM``,
``losses PROGRAM`` and ``reference N``.
"""

from __future__ import annotations

import argparse
import gc
import importlib
import json
import os
import sys
import time
import traceback
from pathlib import Path
from typing import Any, TextIO

if __name__ == "__main__":  # started as a file: the package above it is not on the path yet
    sys.path[0] = str(Path(__file__).resolve().parents[2])

from bench.compiled.rows import Prepared, library_of, prepare

__all__ = ["main"]

UNWANTED = ("torch._dynamo", "torch._inductor", "torch.optim.optimizer", "sympy")


class Worker:
    """Holds the prepared programs of one row."""

    def __init__(self, row: str) -> None:
        self.row = row
        self.prepared: dict[str, Prepared] = {}
        library = importlib.import_module({"numpyro": "jax"}.get(library_of(row), "torch"))
        if library_of(row) != "numpyro":
            library.set_num_threads(1)
        self.imported = frozenset(sys.modules)

    def prepare(self, program: str) -> dict[str, Any]:
        """Seconds from the import of the library to the end of the first step, and what that imported."""
        clock, processor = time.perf_counter(), time.process_time()
        self.prepared[program] = prepare(self.row, program)
        seconds = {"seconds": time.perf_counter() - clock, "processor_seconds": time.process_time() - processor}
        found = [name for name in UNWANTED if name in sys.modules and name not in self.imported]
        return {**seconds, "imported": found, "unit": self.prepared[program].unit}

    def run(self, program: str, number: str) -> dict[str, Any]:
        """Seconds that so many steps take, by the processor and by the clock."""
        take, steps = self.prepared[program].take, int(number)
        gc.collect()
        clock, processor = time.perf_counter(), time.process_time()
        take(steps)
        return {"seconds": time.perf_counter() - clock, "processor_seconds": time.process_time() - processor}

    def settle(self, program: str) -> dict[str, Any]:
        """Wait until nothing is being compiled any more."""
        self.prepared[program].settle()
        return {}

    def losses(self, program: str) -> dict[str, Any]:
        """The losses of the first steps."""
        return {"losses": self.prepared[program].losses()}

    def reference(self, number: str) -> dict[str, Any]:
        """Time a fixed calculation without any library: it shows the machine."""
        begin = time.process_time()
        for _ in range(int(number)):
            sum(value * value for value in range(1000))
        return {"seconds": time.process_time() - begin}


def main(row: str, requests: TextIO, answers: TextIO) -> None:
    """Answer requests until the end of the input."""
    worker = Worker(row)
    for line in requests:
        request, *words = line.split()
        try:
            answer = getattr(worker, request)(*words)
        except Exception as error:  # noqa: BLE001 - whatever a library raises is the answer to the request
            answer = {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("row")
    answers_only = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints must not look like an answer
    main(parser.parse_args().row, sys.stdin, answers_only)
