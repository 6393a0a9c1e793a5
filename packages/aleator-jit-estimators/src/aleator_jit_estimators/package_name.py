"""The name of a package on disk: everything that what is in it was made from."""

from __future__ import annotations

import hashlib
import importlib
import platform
from collections.abc import Collection
from functools import lru_cache
from pathlib import Path

import torch

from aleator_jit_estimators.capture import Capture
from aleator_jit_estimators.watch import describe

__all__ = ["package_name", "sources_digest"]

_TAKE_PART = ("aleator", "aleator_svi_elbo", "aleator_jit_estimators")


def package_name(capture: Capture, packages: Collection[str]) -> str:
    """Return the name under which a graph's package is kept.

    Args:
        capture: the graph, recorded in this process: two programs whose operators, numbers or wiring differ anywhere
            have different names, whatever was or was not seen of what they read.
        packages: the packages whose code took part, beside Aleator's own that always do.
    """
    inputs = tuple(describe(value) for value in capture.inputs)
    parts = (
        capture.digest,
        inputs,
        tuple((top, sources_digest(top)) for top in sorted({*_TAKE_PART, *packages} - {"torch"})),
        torch.__version__,
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        platform.python_version(),
        platform.machine(),
        torch.backends.cpu.get_cpu_capability(),
        _accelerators(capture),
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()


@lru_cache(maxsize=256)
def sources_digest(top: str) -> str:
    """Return a digest of a package's sources, or of its version where it has none."""
    module = importlib.import_module(top)
    file = getattr(module, "__file__", None)
    found = hashlib.sha256(str(getattr(module, "__version__", "")).encode())
    if file is not None and top.startswith("aleator"):
        folder = Path(file).parent
        for path in sorted(folder.rglob("*.py")):
            found.update(str(path.relative_to(folder)).encode())
            found.update(path.read_bytes())
    return found.hexdigest()


def _accelerators(capture: Capture) -> tuple[object, ...]:
    devices = {value.device for value in capture.inputs if value.device.type == "cuda"}
    return tuple(
        (torch.cuda.get_device_name(device), torch.cuda.get_device_capability(device), torch.version.cuda)
        for device in sorted(devices, key=str)
    )
