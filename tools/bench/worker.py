"""One library in one process: reads a request a line from standard input, answers each with a line of JSON.

Requests (words separated by blanks):

- ``versions``: the versions of Python, torch and the library;
- ``prepare CASE on|off``: make the program anew, with validation on or off, and run it a few times;
- ``run CASE N``: seconds that N runs took, by the clock and by the processor;
- ``readings CASE SEED N on|off``: the readings of the first N runs of a program made anew under a seed;
- ``operators CASE``: operators that one run dispatches, by name;
- ``breakdown CASE SECONDS``: where the time goes (``sampler.py``);
- ``reference N``: seconds that N runs of a fixed calculation took, without the library: it shows the machine;
- ``quit``.

A request that fails is answered with ``{"error": ...}``; the worker goes on.
"""

from __future__ import annotations

import argparse
import gc
import json
import os
import platform
import sys
import time
import traceback
from collections.abc import Callable
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TextIO

if __name__ == "__main__":  # started as a file: the package above it is not on the path yet
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch

from bench.cases import load
from bench.contract import Program
from bench.operators import count
from bench.sampler import sample_stacks

__all__ = ["Worker", "main"]

DISTRIBUTIONS = {"aleator": "aleator-core", "pyro": "pyro-ppl"}
WARM_UP = 30


class Worker:
    """Holds the prepared programs of one library and answers requests about them."""

    def __init__(self, library: str) -> None:
        self.library = library
        self.programs: dict[str, Program] = {}

    def answer(self, request: str, words: list[str]) -> dict[str, object]:
        """The answer to one request; KeyError for one that is not known."""
        return {
            "versions": self.versions,
            "prepare": self.prepare,
            "run": self.run,
            "readings": self.readings,
            "operators": self.operators,
            "breakdown": self.breakdown,
            "reference": self.reference,
        }[request](*words)

    def versions(self) -> dict[str, object]:
        """Versions, for the head of the report."""
        try:
            library = version(DISTRIBUTIONS.get(self.library, self.library))
        except PackageNotFoundError:
            library = "from source"
        return {"python": platform.python_version(), "torch": torch.__version__, self.library: library}

    def prepare(self, case: str, validate: str) -> dict[str, object]:
        """Build the program, then run it until what happens once has happened."""
        program = load(case).factories[self.library](validate == "on")
        self.programs[case] = program
        for _ in range(WARM_UP):
            program.run()
        return {}

    def run(self, case: str, number: str) -> dict[str, object]:
        """Time a block of runs; garbage of earlier ones is collected before, and the collector stays on."""
        return _timed(self.programs[case].run, int(number))

    def readings(self, case: str, seed: str, number: str, validate: str) -> dict[str, object]:
        """What the program computes from its start; it has to be prepared anew before it is timed."""
        self.programs.pop(case, None)
        program = load(case).factories[self.library](validate == "on")
        program.reseed(int(seed))
        return {"readings": [program.reading() for _ in range(int(number))]}

    def operators(self, case: str) -> dict[str, object]:
        """Operators of one run."""
        found = count(self.programs[case].run)
        return {
            "total": sum(found.names.values()),
            "host_reads": sum(found.host_reads.values()),
            "names": {**found.names, **{f"host read: {name}": number for name, number in found.host_reads.items()}},
        }

    def breakdown(self, case: str, seconds: str) -> dict[str, object]:
        """Where the time of the runs goes."""
        return asdict(sample_stacks(self.programs[case].run, float(seconds)))

    def reference(self, number: str) -> dict[str, object]:
        """Time a calculation of the kind that an eager step is made of, with no library in it."""
        return _timed(_calculation, int(number))


def _timed(run: Callable[[], object], number: int) -> dict[str, object]:
    gc.collect()
    clock, processor = time.perf_counter(), time.process_time()
    for _ in range(number):
        run()
    return {"seconds": time.perf_counter() - clock, "processor_seconds": time.process_time() - processor}


def _calculation() -> float:
    x = torch.zeros(8, requires_grad=True)
    records = [{"name": str(i), "value": x * i + 1.0} for i in range(10)]
    torch.stack([record["value"] for record in records]).square().sum().backward()
    return float(x.grad.sum()) if x.grad is not None else 0.0


def main(library: str, requests: TextIO, answers: TextIO) -> None:
    """Answer requests until ``quit`` or the end of the input."""
    torch.set_num_threads(1)
    worker = Worker(library)
    for line in requests:
        request, *words = line.split()
        if request == "quit":
            return
        try:
            answer = worker.answer(request, words)
        except Exception as error:  # noqa: BLE001 - whatever a library raises is the answer to the request
            answer = {"error": f"{type(error).__name__}: {error}", "traceback": traceback.format_exc()}
        answers.write(json.dumps(answer) + "\n")
        answers.flush()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("library")
    answers_only = os.fdopen(os.dup(sys.stdout.fileno()), "w", encoding="utf-8")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # what a library prints must not look like an answer
    main(parser.parse_args().library, sys.stdin, answers_only)
