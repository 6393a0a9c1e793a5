"""``python -m aleator_jit_estimators [list | clear]``: the compiled steps on disk; ``build`` is for child processes."""

from __future__ import annotations

import sys
from pathlib import Path

from aleator_jit_estimators.disk_cache import DiskCache


def main(arguments: list[str]) -> int:
    """List or clear the cache, or build what a job describes; return the exit status."""
    if arguments[:1] == ["build"] and len(arguments) == 2:
        from aleator_jit_estimators.background import build_job

        build_job(Path(arguments[1]))
        return 0
    cache = DiskCache()
    if arguments not in ([], ["list"], ["clear"]):
        print("usage: python -m aleator_jit_estimators [list | clear]", file=sys.stderr)
        return 2
    names = cache.names()
    if arguments == ["clear"]:
        for name in names:
            cache.remove(name)
        print(f"removed {len(names)} compiled steps from {cache.folder}")
        return 0
    for name in names:
        print(f"{name}  {(cache.folder / f'{name}.pt2').stat().st_size} bytes")
    print(f"{len(names)} compiled steps in {cache.folder}")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
