"""Code that is called by addresses: nothing that it reads, writes or keeps in between becomes a tensor object.

A package of the usual kind takes and gives tensors, and makes one of every value between; for small programs that is
most of what a step costs. Here a state is a row of bytes (:class:`Layout`), the code gets the addresses of all inputs,
and of where its outputs go. It returns nothing, so that what it keeps on its stack cannot be seen outside.
"""

from __future__ import annotations

import copy
import ctypes
from array import array
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, final

import torch
from torch import Tensor
from torch.fx import GraphModule, Node

from aleator_jit_estimators.layouts import Layout

__all__ = ["Addressed", "Caller", "Form", "addressed", "form_of"]

_aten = torch.ops.aten
# What torch calls these in its C interface.
_CODES = {torch.uint8: 0, torch.int32: 3, torch.int64: 4, torch.float32: 6, torch.float64: 7, torch.bool: 11}
_MOST_DIMS = 8
# A descriptor: address, count, eight sizes, eight strides, dims and dtype, device, four words in reserve.
_WORDS, _SIZES, _STRIDES, _KIND = 24, 2, 10, 18
# What Inductor leaves to torch's own kernels, as far as that is known before: code that calls them works on tensors.
_OUTSIDE = frozenset({
    _aten.mm.default, _aten.addmm.default, _aten.bmm.default, _aten.baddbmm.default, _aten.convolution.default,
    _aten.convolution_backward.default,
})  # fmt: skip  # a line each would be six
# Torch's own derivatives write to values that they have just made (that of clamp does): the same without writing.
_WITHOUT_WRITING = {_aten.logical_and_.default: _aten.logical_and.default}


class Form(NamedTuple):
    """How a graph's inputs and outputs become addresses.

    Attributes:
        layout: of the first inputs, and of the first outputs.
        loss: shape and dtype of the last output.
        rest: what the other inputs are like: shape, strides, dtype.
    """

    layout: Layout
    loss: tuple[torch.Size, torch.dtype]
    rest: tuple[tuple[torch.Size, tuple[int, ...], torch.dtype], ...]

    @property
    def number(self) -> int:
        """The number of addresses."""
        return 2 * len(self.layout.vectors) + 1 + len(self.rest)


def form_of(graph: GraphModule, inputs: Sequence[Tensor], outputs: Sequence[Tensor]) -> Form | None:
    """Return the form of a graph that maps a state and other inputs to the next state and a loss; ``None`` for others.

    Args:
        graph: draws nothing; its draws are an input.
        inputs: all of them, the state's leaves first.
        outputs: the state's leaves, and the loss.
    """
    *leaves, loss = outputs
    before, rest = inputs[: len(leaves)], inputs[len(leaves) :]
    if [(each.shape, each.dtype) for each in leaves] != [(each.shape, each.dtype) for each in before]:
        return None
    layout = Layout.of(leaves) if all(each.is_contiguous() for each in before) else None
    every = [*before, loss, *rest]
    if layout is None or not all(each.layout is torch.strided and each.is_cpu and each.numel() for each in every):
        return None
    if not all(each.dtype in _CODES and each.dim() <= _MOST_DIMS for each in every):
        return None
    if any(_is_foreign(node) for node in graph.graph.nodes):
        return None
    described = tuple((each.shape, each.stride(), each.dtype) for each in rest)
    return Form(layout, (loss.shape, loss.dtype), described)


def addressed(graph: GraphModule, form: Form, inputs: Sequence[Tensor]) -> tuple[GraphModule, list[Tensor]]:
    """Return a graph that writes its outputs into its first inputs and returns none, with examples of its inputs."""
    twin = copy.deepcopy(graph)
    nodes = twin.graph
    for node in nodes.nodes:
        if _writes_to_its_own(node):
            node.target = _WITHOUT_WRITING[node.target]
    found = [node for node in nodes.nodes if node.op == "placeholder"]
    output = next(iter(reversed(nodes.nodes)))
    layout, number = form.layout, len(form.layout.shapes)
    with nodes.inserting_before(found[0]):
        targets = [nodes.placeholder(f"into_{at}") for at in range(len(layout.vectors) + 1)]
        vectors = [nodes.placeholder(f"from_{at}") for at in range(len(layout.vectors))]
    with nodes.inserting_before(found[-1].next):
        for vector, whole in zip(layout.vectors, vectors, strict=True):
            _take_apart(nodes, found, whole, vector.leaves, vector.sizes, layout.shapes)
    given: Any = output.args[0]  # inputs that come out again are pieces by now
    with nodes.inserting_before(output):
        for vector, target in zip(layout.vectors, targets, strict=False):  # the last target is the loss's
            flat = [nodes.call_function(_aten.reshape.default, (given[at], [-1])) for at in vector.leaves]
            nodes.call_function(_aten.copy_.default, (target, nodes.call_function(_aten.cat.default, (flat,))))
        nodes.call_function(_aten.copy_.default, (targets[-1], given[-1]))
    for node in found[:number]:
        nodes.erase_node(node)
    output.args = ((),)
    nodes.lint()
    twin.recompile()
    rows = [torch.zeros(sum(each.sizes), dtype=each.dtype) for each in layout.vectors]
    loss = torch.zeros(form.loss[0], dtype=form.loss[1])
    return twin, [*rows, loss, *(row.clone() for row in rows), *inputs[number:]]


@final
class Caller:
    """Runs code on addresses that are written into a table before.

    Attributes:
        table: describes all inputs; each of the places below is one of an address.
        rest: of the inputs that are no state, the draws last.
        draws: the last of them.
    """

    __slots__ = ("_loss", "_moves", "_run", "draws", "rest", "table")

    def __init__(self, call: Callable[..., int], model: ctypes.c_void_p, template: array[int], form: Form) -> None:
        vectors = form.layout.vectors
        places = [at * _WORDS for at in range(form.number)]
        self.table = array("q", template)
        self.rest = places[2 * len(vectors) + 1 :]
        self.draws = self.rest[-1]
        self._run = partial(call, model.value, form.number, self.table.buffer_info()[0], 0, None)
        self._loss = places[len(vectors)]
        self._moves = [(places[at], places[len(vectors) + 1 + at], vector.begin) for at, vector in enumerate(vectors)]

    def step(self, begin: int, into: int, loss: int) -> None:
        """Take the step from the row at one address to the row at another, and put the loss at a third."""
        table = self.table
        for after, before, offset in self._moves:
            table[after] = into + offset
            table[before] = begin + offset
        table[self._loss] = loss
        if self._run():
            raise RuntimeError("a compiled step could not be run")  # nothing that it does fails


@final
class Addressed:
    """A package of this kind, loaded.

    Args:
        path: the shared library.
        form: what it was built for.

    Raises:
        OSError, AttributeError: it is none.
    """

    def __init__(self, path: str, form: Form) -> None:
        self.form = form
        self._library = ctypes.CDLL(path)
        self._model = ctypes.c_void_p()
        if self._library.AOTInductorModelCreate(ctypes.byref(self._model), None):
            raise OSError("the package cannot be loaded")
        call: Any = self._library.AOTInductorModelRunMinimalArrayrefInterfaceV2
        call.argtypes = [ctypes.c_void_p, ctypes.c_int32, ctypes.c_void_p, ctypes.c_int32, ctypes.c_void_p]
        call.restype = ctypes.c_int32
        self._call = call
        self._template = _descriptors(form)

    def __call__(self, inputs: list[Tensor]) -> list[Tensor]:
        """Run the code as a package of the usual kind runs: tensors in, new tensors out."""
        layout = self.form.layout
        row = layout.joined(inputs[: len(layout.shapes)])
        after, loss = torch.empty_like(row), torch.empty(self.form.loss[0], dtype=self.form.loss[1], device="cpu")
        caller = self.caller()
        rest = [each.resolve_neg() for each in inputs[len(layout.shapes) :]]
        for place, each in zip(caller.rest, rest, strict=True):
            caller.table[place] = each.data_ptr()
        caller.step(row.data_ptr(), after.data_ptr(), loss.data_ptr())
        return [*layout.apart(after), loss]

    def caller(self) -> Caller:
        """Return what runs the code for one thread at a time."""
        return Caller(self._call, self._model, self._template, self.form)


def _is_foreign(node: Node) -> bool:
    """Tell whether a node writes to what it gets, or is known to be left to torch's own kernels."""
    if node.op != "call_function" or _writes_to_its_own(node):
        return False
    schema = getattr(node.target, "_schema", None)
    return node.target in _OUTSIDE or (schema is not None and schema.is_mutable)


def _writes_to_its_own(node: Node) -> bool:
    """Tell whether a node writes to a value that was made for it, and that nobody else sees."""
    given = node.args[0] if node.target in _WITHOUT_WRITING else None
    if not isinstance(given, Node) or given.op != "call_function" or getattr(given.target, "is_view", True):
        return False
    return len(given.users) == 1


def _take_apart(nodes: Any, found: list[Node], whole: Node, leaves: Any, sizes: Any, shapes: Any) -> None:  # noqa: ANN401  # a vector's
    begin = 0
    for at, size in zip(leaves, sizes, strict=True):
        piece = nodes.call_function(_aten.slice.Tensor, (whole, 0, begin, begin + size))
        found[at].replace_all_uses_with(nodes.call_function(_aten.view.default, (piece, list(shapes[at]))))
        begin += size


def _descriptors(form: Form) -> array[int]:
    """Return the table of descriptors, whose addresses are missing."""
    vectors = [(torch.Size([sum(each.sizes)]), (1,), each.dtype) for each in form.layout.vectors]
    loss = (form.loss[0], torch.empty(form.loss[0], device="meta").stride(), form.loss[1])
    table = array("q")
    for shape, strides, dtype in [*vectors, loss, *vectors, *form.rest]:
        words = array("q", bytes(8 * _WORDS))
        words[1] = shape.numel()
        words[_SIZES : _SIZES + len(shape)] = array("q", shape)
        words[_STRIDES : _STRIDES + len(shape)] = array("q", strides)
        words[_KIND] = len(shape) | _CODES[dtype] << 32
        table += words
    return table
