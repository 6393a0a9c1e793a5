"""``python -m aleator_jit_estimators [list | clear]``: the compiled steps on disk."""

from __future__ import annotations

import sys

from aleator_jit_estimators.disk_cache import DiskCache


def main(arguments: list[str]) -> int:
    """List or clear the cache; return the exit status."""
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
