"""Say where the time of a cold build goes: python tools/bench/compiled/build_breakdown.py PROGRAM [--wrapper-level O0].

The program takes its first compiled step with empty caches of Aleator's and Inductor's; calls of compilers are timed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

if __name__ == "__main__":  # started as a file: the package above it is not on the path yet
    sys.path[0] = str(Path(__file__).resolve().parents[2])

__all__ = ["main"]

_CALLS = ("run", "check_output", "check_call")


def main() -> None:
    """Build, and print seconds by purpose."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("program")
    parser.add_argument("--wrapper-level", help="optimization level of the code that calls the kernels (torch's: O1)")
    stated = parser.parse_args()
    spent: dict[str, float] = defaultdict(float)
    with tempfile.TemporaryDirectory() as folder:
        os.environ["ALEATOR_CACHE"], os.environ["TORCHINDUCTOR_CACHE_DIR"] = f"{folder}/aleator", f"{folder}/inductor"
        for name in _CALLS:
            setattr(subprocess, name, _timed(getattr(subprocess, name), spent))
        begin = time.perf_counter()
        import torch._inductor.compile_fx

        spent["importing Inductor"] = time.perf_counter() - begin
        if stated.wrapper_level is not None:
            torch._inductor.config.aot_inductor.compile_wrapper_opt_level = stated.wrapper_level
        from bench.compiled.rows import prepare

        begin = time.perf_counter()
        prepare("aleator_compiled", stated.program)
        total = time.perf_counter() - begin + spent["importing Inductor"]
    spent["torch in Python: export, lowering, code; the program"] = total - sum(spent.values())
    for purpose, seconds in sorted(spent.items(), key=lambda item: -item[1]):
        print(f"{seconds:7.1f} s  {purpose}")
    print(f"{total:7.1f} s  in all")


def _timed(call: Callable[..., Any], spent: dict[str, float]) -> Callable[..., Any]:
    def timed(command: Any, *args: Any, **options: Any) -> Any:  # noqa: ANN401  # as the function of the standard library
        begin = time.perf_counter()
        try:
            return call(command, *args, **options)
        finally:
            words = command if isinstance(command, str) else " ".join(map(str, command))
            spent[_purpose(words)] += time.perf_counter() - begin

    return timed


def _purpose(command: str) -> str:
    """Return what a call of the compiler is for, by the files that it names."""
    if " -c " in command:
        kinds = {".wrapper.o": "the code that calls the kernels", ".kernel.o": "the kernels"}
        return next((purpose for end, purpose in kinds.items() if end in command), "other object files")
    if "header" in command or ".gch" in command:
        return "precompiled headers"
    return "probes of the instruction set, and linking" if ".so" in command else "asking the compiler for its version"


if __name__ == "__main__":
    main()
