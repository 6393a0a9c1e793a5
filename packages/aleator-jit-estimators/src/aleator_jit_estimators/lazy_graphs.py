"""Graphs whose Python code is written when somebody runs them: most are only named, and found on disk."""

from __future__ import annotations

from torch.fx import Graph, GraphModule
from torch.nn import Module

__all__ = ["graph_module"]


def graph_module(root: Module, graph: Graph) -> GraphModule:
    """Return a module of a graph; writing its code takes a third of a first step, and waits until it is run."""
    try:
        from torch.fx._lazy_graph_module import _LazyGraphModule
    except ImportError:  # a private name of torch
        return GraphModule(root, graph)
    return _LazyGraphModule(root, graph)
