"""The name of a package on disk: everything that what is in it was made from."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Collection
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from aleator_jit_estimators.capture import Capture
from aleator_jit_estimators.watch import describe

__all__ = ["package_name"]

_TAKE_PART = ("aleator_core", "aleator_svi_elbo")


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
        capture.form is not None,
        inputs,
        _own_sources(),
        tuple((top, _version(top)) for top in sorted({*_TAKE_PART, *packages} - {"torch", "aleator"})),
        torch.__version__,
        torch.get_num_threads(),
        torch.are_deterministic_algorithms_enabled(),
        platform.python_version(),
        platform.machine(),
        torch.backends.cpu.get_cpu_capability(),
        _accelerators(capture),
    )
    return hashlib.sha256(repr(parts).encode()).hexdigest()


@cache
def _own_sources() -> str:
    """Return a digest of this package: how it turns a graph into code. What a program does is in the graph's digest."""
    folder = Path(__file__).parent
    found = hashlib.sha256()
    for path in sorted(folder.glob("*.py")):
        found.update(path.name.encode())
        found.update(path.read_bytes())
    return found.hexdigest()


def _version(top: str) -> str:
    try:
        return version(top.replace("_", "-"))
    except PackageNotFoundError:
        return ""


def _accelerators(capture: Capture) -> tuple[object, ...]:
    devices = {value.device for value in capture.inputs if value.device.type == "cuda"}
    return tuple(
        (torch.cuda.get_device_name(device), torch.cuda.get_device_capability(device), torch.version.cuda)
        for device in sorted(devices, key=str)
    )
