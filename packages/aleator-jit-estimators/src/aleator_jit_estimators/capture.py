"""A function of tensors as a graph whose every outside tensor is an input."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.fx import GraphModule

from aleator.randomness import preserve

__all__ = ["Capture", "capture"]


class Capture(NamedTuple):
    """A graph over the given inputs, and further inputs that were lifted.

    Attributes:
        graph: takes the inputs, then the lifted tensors; gives a tuple of tensors.
        lifted: for each further input its place among the reachable tensors, or the tensor itself where it was found
            in a place that nobody can look up again.
        inputs: example values of all inputs, none passed twice.
    """

    graph: GraphModule
    lifted: tuple[int | Tensor, ...]
    inputs: tuple[Tensor, ...]


def capture(
    function: Callable[..., tuple[Tensor, ...]], inputs: Sequence[Tensor], reachable: Sequence[Tensor]
) -> Capture:
    """Record a function of tensors; what it draws while it is recorded leaves no stream changed.

    Args:
        function: takes the inputs, gives a flat tuple of tensors.
        inputs: example values. One that is passed twice is copied: a graph would take the two for one.
        reachable: tensors that the caller can look up again before each call.

    Raises:
        Exception: whatever recording raises, for example where a program reads a value on the host.
    """
    from torch.fx.experimental.proxy_tensor import make_fx  # costs a second, and a warm cache needs none

    distinct = tuple(value.detach().clone() for value in inputs)
    with preserve():
        graph = make_fx(function)(*distinct)
    places = {id(tensor): at for at, tensor in enumerate(reachable)}
    lifted: list[int | Tensor] = []
    values: list[Tensor] = []
    after = [node for node in graph.graph.nodes if node.op == "placeholder"][-1:]
    for node in [node for node in graph.graph.nodes if node.op == "get_attr"]:
        value = _attribute(graph, str(node.target))
        if not isinstance(value, Tensor):
            continue
        if _is_literal(node):
            _keep(graph, node, value)
            continue
        with graph.graph.inserting_after(*after) if after else graph.graph.inserting_before():
            placeholder = graph.graph.placeholder(f"lifted_{len(lifted)}")
        after = [placeholder]
        node.replace_all_uses_with(placeholder)
        graph.graph.erase_node(node)
        lifted.append(places.get(id(value), value))
        values.append(value.detach())
    graph.graph.eliminate_dead_code()
    graph.recompile()
    return Capture(graph, tuple(lifted), (*distinct, *values))


def _attribute(graph: GraphModule, target: str) -> Any:  # noqa: ANN401  # a tensor or a submodule
    found: Any = graph
    for part in target.split("."):
        found = getattr(found, part)
    return found


def _keep(graph: GraphModule, node: torch.fx.Node, value: Tensor) -> None:
    """Make a literal a buffer, and use it as it is: nothing in a pure step writes to it, and export takes it along."""
    name = str(node.target)
    if name in graph._buffers:
        return
    delattr(graph, name)
    graph.register_buffer(name, value.detach().clone())


def _is_literal(node: torch.fx.Node) -> bool:
    """Whether a constant was written in the program as numbers: those are copied at once when they become a tensor."""
    return len(node.users) > 0 and all(user.target is torch.ops.aten.lift_fresh_copy.default for user in node.users)
