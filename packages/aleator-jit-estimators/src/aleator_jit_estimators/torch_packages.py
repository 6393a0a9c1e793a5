"""The one place that knows torch's builder and loader of ahead-of-time packages, and their private names."""

from __future__ import annotations

import os
import shutil
import warnings
from collections.abc import Callable, Sequence
from typing import Any, final

import torch
from torch import Tensor
from torch.fx import GraphModule

__all__ = ["build_inductor", "build_package", "find_compiler", "load_package"]

Runner = Callable[[list[Tensor]], list[Tensor]]


def find_compiler() -> str | None:
    """Return the path of the C++ compiler that torch would use, or ``None``."""
    return shutil.which(os.environ.get("CXX", "g++")) or shutil.which("clang++")


def build_package(graph: GraphModule, inputs: Sequence[Tensor], path: str) -> None:
    """Build an ahead-of-time package of a graph at ``path``, which ends in ``.pt2``."""
    import torch._inductor as inductor  # costs seconds, and only a build needs it

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # noqa: TID251  # torch's builder warns about deprecated parts of its own
        program = torch.export.export(_GraphStep(graph), tuple(inputs), strict=False)
        # Not "allow_stack_allocation": it saves microseconds, but outputs can then lie on a stack that is gone.
        with inductor.config.patch(fallback_random=True):
            inductor.aoti_compile_and_package(program, package_path=path)


def load_package(path: str) -> Runner:
    """Return what runs a package: a list of inputs in, a list of outputs out.

    The loader in C++ needs neither Dynamo nor Inductor; where its private name is gone, the public call serves.
    """
    private: Any = getattr(torch._C, "_aoti", None)
    loader = getattr(private, "AOTIModelPackageLoader", None)
    if loader is not None:
        run: Runner = loader(path, "model", False, 1, -1).run
        return run
    import torch._inductor as inductor  # as above

    package = inductor.aoti_load_package(path)
    return lambda inputs: list(package(*inputs))


def build_inductor(graph: GraphModule, inputs: Sequence[Tensor]) -> Runner:
    """Return what runs a graph through Inductor's Python wrapper, in this process."""
    import torch._inductor as inductor  # as above

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # noqa: TID251  # torch's builder warns about deprecated parts of its own
        with inductor.config.patch(fallback_random=True):
            compiled: Any = inductor.compile(graph, list(inputs))
    return lambda inputs: list(compiled(*inputs))


@final
class _GraphStep(torch.nn.Module):
    def __init__(self, graph: GraphModule) -> None:
        super().__init__()
        self.recorded = graph  # not "graph": export would take it for a graph module's own attribute

    def forward(self, *leaves: Tensor) -> tuple[Tensor, ...]:
        return tuple(self.recorded(*leaves))
