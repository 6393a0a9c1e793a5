"""Runs a case for many steps and watches what stays behind: live tensors, live objects, resident memory.

    python tools/bench/soak.py [CASE ...] [--library aleator] [--steps 10000]

Run it with the interpreter of the library's environment. It ends with 1 where the number of live tensors or the
resident memory grew after the first checkpoint. What is alive is counted after a collection (growth: a leak), and once
over a stretch without the collector (growth: reference cycles, no leak, but a training that leaves them pays).
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

if __name__ == "__main__":  # started as a file: the package above it is not on the path yet
    sys.path[0] = str(Path(__file__).resolve().parents[1])

import torch

from bench.cases import NAMES, load

__all__ = ["Census", "Soak", "main", "soak"]

CHECKPOINTS = 10
STRETCH = 200
SLACK_BYTES = 2 * 2**20  # an allocator may keep a page more; a leak of one scalar per step would be 5 MB in 10,000


@dataclass(frozen=True)
class Census:
    """What is alive after so many steps; ``resident`` in bytes, 0 where the system does not tell."""

    steps: int
    tensors: int
    objects: int
    resident: int


@dataclass(frozen=True)
class Soak:
    """The censuses of one case, and tensors and objects left per step by reference cycles."""

    censuses: Sequence[Census]
    cyclic_tensors: float
    cyclic_objects: float

    @property
    def is_flat(self) -> bool:
        """Whether nothing grew from the first census (caches are warm by then) to the last."""
        first, last = self.censuses[0], self.censuses[-1]
        return last.tensors <= first.tensors and last.resident - first.resident <= SLACK_BYTES


def soak(run: Callable[[], object], steps: int) -> Soak:
    """Run so many steps, with a census at each tenth of the way."""
    censuses = []
    part = max(1, steps // CHECKPOINTS)
    for done in range(part, steps + 1, part):
        for _ in range(part):
            run()
        gc.collect()
        censuses.append(_census(done))
    gc.disable()
    try:
        before = _census(steps)
        for _ in range(STRETCH):
            run()
        after = _census(steps + STRETCH)
    finally:
        gc.enable()
    return Soak(
        censuses,
        cyclic_tensors=(after.tensors - before.tensors) / STRETCH,
        cyclic_objects=(after.objects - before.objects) / STRETCH,
    )


def main(arguments: Sequence[str] | None = None) -> int:
    """Print a table per case; 1 where something grew."""
    options = _parser().parse_args(arguments)
    torch.set_num_threads(1)
    grew = []
    for name in options.cases:
        found = soak(load(name).factories[options.library](True).run, options.steps)
        _print(name, options.library, found)
        if not found.is_flat:
            grew.append(name)
    if grew:
        print(f"grew: {', '.join(grew)}", file=sys.stderr)
    return 1 if grew else 0


def _census(steps: int) -> Census:
    everything = gc.get_objects()
    tensors = sum(issubclass(type(thing), torch.Tensor) for thing in everything)
    return Census(steps, tensors, len(everything), _resident_bytes())


def _resident_bytes() -> int:
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    except OSError:  # only Linux has it; tensors and objects are counted everywhere
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _print(name: str, library: str, found: Soak) -> None:
    print(
        f"\n{name}, {library}\n\n| steps | live tensors | live objects | resident, MiB |\n| ---: | ---: | ---: | ---: |"
    )
    for census in found.censuses:
        print(f"| {census.steps} | {census.tensors} | {census.objects} | {census.resident / 2**20:.1f} |")
    flat = "flat" if found.is_flat else "grew"
    print(
        f"\n{flat}; left to the collector per step: {found.cyclic_tensors:.2f} tensors, "
        f"{found.cyclic_objects:.2f} objects"
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cases", nargs="*", default=list(NAMES), metavar="CASE", help=f"of {', '.join(NAMES)}")
    parser.add_argument("--library", default="aleator")
    parser.add_argument("--steps", type=int, default=10_000)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
