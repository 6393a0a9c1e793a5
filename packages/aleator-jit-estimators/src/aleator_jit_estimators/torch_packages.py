"""The one place that knows torch's builder and loader of ahead-of-time packages, and their private names."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import warnings
import zipfile
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor
from torch.fx import GraphModule

from aleator_jit_estimators.addressed import Addressed, Form, addressed

__all__ = ["build_inductor", "build_package", "find_compiler", "load_package"]

Runner = Callable[[list[Tensor]], list[Tensor]]
_ENTRY = b"AOTInductorModelRunMinimalArrayrefInterfaceV2"
# What code calls that stands alone: it looks at tensors, at most makes one for itself.
_HARMLESS = re.compile(
    rb"aoti_torch_(clone|create_tensor_from_blob(_v2)?|delete_tensor_object|empty_strided|grad_mode_.*|new_tensor_handle"
    rb"|_reinterpret_tensor|(device_type|dtype|layout|get)_.*|check)"
)


def find_compiler() -> str | None:
    """Return the path of the C++ compiler that torch would use, or ``None``."""
    return shutil.which(os.environ.get("CXX", "g++")) or shutil.which("clang++")


def build_package(graph: GraphModule, inputs: Sequence[Tensor], path: str, form: Form | None = None) -> None:
    """Build an ahead-of-time package of a graph at ``path``, which ends in ``.pt2``.

    Args:
        graph: takes and gives tensors.
        inputs: examples.
        path: where the package will lie.
        form: builds code that is called by addresses, where the graph comes to kernels of its own only.
    """
    if form is not None:
        with suppress(Exception):  # then the package is one of the usual kind
            _build(*addressed(graph, form, inputs), path, by_address=True)
            if _stands_alone(path):
                return
    _build(graph, inputs, path)


def load_package(path: str, form: Form | None = None) -> Runner:
    """Return what runs a package: a list of inputs in, a list of outputs out.

    The loader in C++ needs neither Dynamo nor Inductor; where its private name is gone, the public call serves.
    """
    if form is not None:
        library = _library(path)
        if _ENTRY in library:
            return _loaded(library, form)
    private: Any = getattr(torch._C, "_aoti", None)
    loader = getattr(private, "AOTIModelPackageLoader", None)
    if loader is not None:
        run: Runner = loader(path, "model", False, 1, -1).run
        return run
    import torch._inductor as inductor  # as below

    package = inductor.aoti_load_package(path)
    return lambda inputs: list(package(*inputs))


def build_inductor(graph: GraphModule, inputs: Sequence[Tensor]) -> Runner:
    """Return what runs a graph through Inductor's Python wrapper, in this process."""
    import torch._inductor as inductor  # as below

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # noqa: TID251  # torch's builder warns about deprecated parts of its own
        with inductor.config.patch(fallback_random=True):
            compiled: Any = inductor.compile(graph, list(inputs))
    return lambda inputs: list(compiled(*inputs))


def _build(graph: GraphModule, inputs: Sequence[Tensor], path: str, by_address: bool = False) -> None:
    import torch._inductor as inductor  # costs seconds, and only a build needs it

    # The stack only where nothing is returned: torch gives outputs that lie there out of one buffer, again and again.
    stack = {"aot_inductor.allow_stack_allocation": True, "aot_inductor.use_minimal_arrayref_interface": True}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # noqa: TID251  # torch's builder warns about deprecated parts of its own
        program = torch.export.export(_GraphStep(graph), tuple(inputs), strict=False)
        with inductor.config.patch({"fallback_random": True, **(stack if by_address else {})}):
            inductor.aoti_compile_and_package(program, package_path=path)


def _library(path: str) -> bytes:
    """Return the shared library in a package."""
    with zipfile.ZipFile(path) as package:
        names = [name for name in package.namelist() if name.endswith(".so")]
        return package.read(names[0]) if names else b""


def _stands_alone(path: str) -> bool:
    """Tell whether a package's code calls none of torch's kernels, which work on tensors."""
    library = _library(path)
    called = re.findall(rb"\0(aoti_torch_\w+)(?=\0)", library)
    return _ENTRY in library and all(map(_HARMLESS.fullmatch, called))


def _loaded(library: bytes, form: Form) -> Addressed:
    """Load a library; its file may go at once."""
    with tempfile.TemporaryDirectory(prefix="aleator-step-") as folder:
        file = Path(folder) / "step.so"
        file.write_bytes(library)
        return Addressed(str(file), form)


@final
class _GraphStep(torch.nn.Module):
    def __init__(self, graph: GraphModule) -> None:
        super().__init__()
        self.recorded = graph  # not "graph": export would take it for a graph module's own attribute

    def forward(self, *leaves: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.recorded(*leaves))
