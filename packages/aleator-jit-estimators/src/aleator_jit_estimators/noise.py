"""Draws whose distribution a graph fixes, made before it runs: what is left of the graph draws nothing.

Such a graph needs no stream of randomness to be put in the place of the process's, and its package makes no calls back
into torch.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from itertools import accumulate
from typing import Any, NamedTuple, final

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

__all__ = ["Noise", "take_noise_out"]

_aten = torch.ops.aten
_NORMALS = (_aten.randn.default, _aten.randn.generator)
_UNIFORMS = (_aten.rand.default, _aten.rand.generator)
_FILLS = {
    _aten.normal_.default: "normal_",
    _aten.uniform_.default: "uniform_",
    _aten.exponential_.default: "exponential_",
    _aten.cauchy_.default: "cauchy_",
}
_EMPTY = (_aten.empty.memory_format, _aten.empty_like.default, _aten.new_empty.default)
_NOTHING = "nothing"
# Torch draws this many normals and more in another way than fewer; fewer follow one another as if drawn at once.
_FEW = 16


class Draw(NamedTuple):
    """Some draws of one kind.

    Attributes:
        method: the tensor's method that draws.
        arguments: what it takes.
        number: how many.
    """

    method: str
    arguments: tuple[float, ...]
    number: int


@final
class Noise:
    """The draws of a graph, in their order, as one vector.

    Args:
        draws: those of one step.
        dtype: theirs.
        steps: how many steps draw one after the other.
    """

    __slots__ = ("_draws", "_local", "dtype", "size")

    def __init__(self, draws: tuple[Draw, ...], dtype: torch.dtype, steps: int = 1) -> None:
        self._draws = draws * steps
        self._local = threading.local()
        self.dtype = dtype
        self.size = sum(draw.number for draw in self._draws)

    def repeated(self, steps: int) -> Noise:
        """Return the draws of so many steps."""
        return Noise(self._draws, self.dtype, steps)

    def draw(self, generator: torch.Generator | None) -> Tensor:
        """Return the draws, in a tensor that the next call in this thread overwrites."""
        found = getattr(self._local, "fills", None)
        if found is None:
            found = self._local.fills = self.fills()
        vector, fills = found
        for fill in fills:
            fill(generator=generator)
        return vector

    def after(self, state: Tensor, steps: int) -> Tensor:
        """Return the state in which a generator is that was in a state and has drawn for so many steps."""
        generator = torch.Generator()
        generator.set_state(state)
        for _ in range(steps):
            self.draw(generator)
        return generator.get_state()

    def generator(self, state: Tensor) -> torch.Generator:
        """Return a generator in a state: this thread's, always the same."""
        generator: torch.Generator | None = getattr(self._local, "generator", None)
        if generator is None:
            generator = self._local.generator = torch.Generator()
        generator.set_state(state)
        return generator

    def fills(self) -> tuple[Tensor, list[Callable[..., Any]]]:
        """Return a vector, and functions that together put draws of their keyword ``generator`` into it."""
        vector = torch.empty(self.size, dtype=self.dtype, device="cpu")
        joined: list[Draw] = []
        for draw in self._draws:
            last = joined[-1] if joined else None
            if last is not None and last[:2] == draw[:2] == ("normal_", ()) and last.number + draw.number < _FEW:
                joined[-1] = last._replace(number=last.number + draw.number)
            else:
                joined.append(draw)
        ends = list(accumulate(draw.number for draw in joined))
        pieces = [vector[end - draw.number : end] for draw, end in zip(joined, ends, strict=True)]
        return vector, [
            partial(getattr(piece, draw.method), *draw.arguments)
            for piece, draw in zip(pieces, joined, strict=True)
            if draw.method != _NOTHING
        ]


def take_noise_out(module: GraphModule, even_none: bool = False) -> Noise | None:
    """Make a graph's draws its last input; change nothing and return ``None`` where one depends on other values.

    The nodes must have the tensors' descriptions in ``meta["made"]``: shape, dtype, device, whether it is contiguous.

    Args:
        module: the graph.
        even_none: give a graph that draws nothing an input that it does not read, so that it is called like the others.
    """
    random = [node for node in module.graph.nodes if _is_random(node)]
    if not random and even_none:
        with module.graph.inserting_after([node for node in module.graph.nodes if node.op == "placeholder"][-1]):
            module.graph.placeholder("noise")
        module.recompile()
        return Noise((Draw(_NOTHING, (), 1),), torch.float32)
    draws = [_draw(node) for node in random]
    dtypes = {node.meta["made"][1] for node in random}
    if not draws or None in draws or len(dtypes) != 1:
        return None
    last_input = [node for node in module.graph.nodes if node.op == "placeholder"][-1]
    with module.graph.inserting_after(last_input):
        vector = module.graph.placeholder("noise")
    begin, after = 0, vector
    for node, draw in zip(random, draws, strict=True):
        assert draw is not None  # looked at above
        with module.graph.inserting_after(after):
            piece = module.graph.call_function(_aten.slice.Tensor, (vector, 0, begin, begin + draw.number))
        with module.graph.inserting_after(piece):
            after = module.graph.call_function(_aten.view.default, (piece, list(node.meta["made"][0])))
        begin += draw.number
        given = node.args[0] if node.target in _FILLS else None
        node.replace_all_uses_with(after)
        module.graph.erase_node(node)
        if isinstance(given, Node):
            given.replace_all_uses_with(after)
            module.graph.erase_node(given)
    _copy_outputs(module, vector)
    module.graph.lint()
    module.recompile()
    return Noise(tuple(draw for draw in draws if draw is not None), dtypes.pop())


def _is_random(node: Node) -> bool:
    return node.op == "call_function" and torch.Tag.nondeterministic_seeded in getattr(node.target, "tags", ())


def _draw(node: Node) -> Draw | None:
    """Return what a node draws; ``None`` where that depends on more than the shape."""
    made = node.meta.get("made")
    if made is None or made[2].type != "cpu" or not made[3] or not made[1].is_floating_point:
        return None
    number = made[0].numel()
    if node.target in _NORMALS:
        return Draw("normal_", (), number)
    if node.target in _UNIFORMS:
        return Draw("uniform_", (), number)
    method = _FILLS.get(node.target)  # type: ignore[call-overload]  # a node's target may be a string too
    given, *arguments = node.args or (None,)
    is_fresh = isinstance(given, Node) and given.target in _EMPTY and next(iter(given.users)) is node
    if method is None or not is_fresh or node.kwargs.get("generator") is not None:
        return None
    if not all(isinstance(each, (int, float)) for each in arguments):
        return None
    if method == "normal_" and tuple(arguments) == (0.0, 1.0):
        arguments = []
    return Draw(method, tuple(arguments), number)  # type: ignore[arg-type]  # looked at above


def _copy_outputs(module: GraphModule, vector: Node) -> None:
    """Copy outputs that lie in the vector, since later draws overwrite it."""
    output = next(iter(reversed(module.graph.nodes)))
    given: Any = output.args[0]
    copied = []
    for each in given:
        root = each
        while root.op == "call_function" and getattr(root.target, "is_view", False):
            root = root.args[0]
        if root is vector:
            with module.graph.inserting_before(output):
                each = module.graph.call_function(_aten.clone.default, (each,))
        copied.append(each)
    output.args = (tuple(copied),)
