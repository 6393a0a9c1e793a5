"""A function of tensors, recorded operator by operator while it runs."""

from __future__ import annotations

import hashlib
import operator
from typing import Any, final

import torch
from torch import Tensor
from torch.fx import Graph, GraphModule, Node
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map
from torch.utils.weak import WeakTensorKeyDictionary

from aleator.capture import recording
from aleator_jit_estimators.foreign_draws import place_of_foreign_draw
from aleator_jit_estimators.lazy_graphs import graph_module

__all__ = ["Recorder", "UnrecordableError", "in_words"]

_LITERALS = (torch.ops.aten.lift_fresh.default, torch.ops.aten.lift_fresh_copy.default)
_CHECKS = (torch.ops.aten._linalg_check_errors.default,)  # compiled, what these refuse becomes NaN

# The first writes its running statistics and does not say so; the second is the same, and says so.
_BATCH_NORM = torch.ops.aten.native_batch_norm.default
_HONEST_BATCH_NORM = torch.ops.aten._native_batch_norm_legit.default
_DISHONEST = (torch.ops.aten.cudnn_batch_norm.default, torch.ops.aten.miopen_batch_norm.default)


class UnrecordableError(RuntimeError):
    """A program does something that a graph cannot hold."""


@final
class Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]  # torch's own
    """Notes the operators that are called in a block, with what goes in and comes out.

    What the block writes into tensors that it did not make is put back by :meth:`restore`.

    Args:
        inputs: become the graph's first inputs.

    Attributes:
        lifted: tensors that the block found elsewhere; they become the inputs after the first ones.
        foreign_draw: the line of the first draw that the program makes by torch itself, where there is one.
    """

    def __init__(self, inputs: tuple[Tensor, ...]) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's own
        self.lifted: list[Tensor] = []
        self.foreign_draw: str | None = None
        self._graph = Graph()
        self._nodes: Any = WeakTensorKeyDictionary()
        self._literals: dict[str, Tensor] = {}
        self._written: list[tuple[Tensor, Tensor]] = []
        self._last_input: Node | None = None
        self._recording = recording()
        for at, value in enumerate(inputs):
            self._nodes[value] = self._placeholder(f"input_{at}")

    def __enter__(self) -> Recorder:
        """Begin to note operators; who would read a value on the host knows that it must not."""
        self._recording.__enter__()
        super().__enter__()  # type: ignore[no-untyped-call]  # torch's own
        return self

    def __exit__(self, *exception: Any) -> None:  # noqa: ANN401  # the three values of the protocol
        """End the recording."""
        super().__exit__(*exception)  # type: ignore[no-untyped-call]  # torch's own
        self._recording.__exit__(*exception)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:  # noqa: ANN401  # torch's signature
        """Call an operator, and note it."""
        kwargs = kwargs or {}
        if func in _CHECKS:
            return func(*args, **kwargs)
        if func is _BATCH_NORM and args[3] is not None:
            func = _HONEST_BATCH_NORM
        _refuse(func, args)
        if self.foreign_draw is None and torch.Tag.nondeterministic_seeded in func.tags:
            self.foreign_draw = place_of_foreign_draw()
        if func in _LITERALS and args[0] not in self._nodes:
            node = self._graph.call_function(torch.ops.aten.lift_fresh_copy.default, (self._literal(args[0]),))
        else:
            given, keywords = tree_map(self._known, (args, kwargs))
            node = self._graph.call_function(func, given, keywords)
        if func._schema.is_mutable:
            self._remember(args, kwargs)
        result = func(*args, **kwargs)
        self._note(result, node, str(func))
        return result

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Torch asks this of a mode: to be skipped by Dynamo would import Dynamo, which costs seconds."""
        return False

    def restore(self) -> None:
        """Put back what was written into tensors from elsewhere."""
        with torch.no_grad():
            for tensor, value in reversed(self._written):
                tensor.detach().copy_(value)

    def graph(self, outputs: list[Any]) -> tuple[GraphModule, str]:
        """Return the graph that gives these tensors, and a digest of it: operators, numbers, wiring, literals.

        Raises:
            UnrecordableError: an output is no tensor.
        """
        for each in outputs:
            if not isinstance(each, Tensor):
                raise UnrecordableError(f"the step gives {each!r}, where a graph can give tensors only")
        self._graph.output(tuple(self._known(each) for each in outputs))
        self._graph.eliminate_dead_code()  # keeps draws: a stream must stand where it stands without compiling
        root = torch.nn.Module()
        for name, value in self._literals.items():
            root.register_buffer(name, value)
        module = graph_module(root, self._graph)  # takes along the literals that are used
        return module, _digest(module)

    def _placeholder(self, name: str) -> Node:
        first = next(iter(self._graph.nodes), None)
        if self._last_input is not None:
            with self._graph.inserting_after(self._last_input):
                node = self._graph.placeholder(name)
        elif first is not None:
            with self._graph.inserting_before(first):
                node = self._graph.placeholder(name)
        else:
            node = self._graph.placeholder(name)
        self._last_input = node
        return node

    def _known(self, value: Any) -> Any:  # noqa: ANN401  # an operator's argument
        """Return the node of a tensor; one from elsewhere becomes an input."""
        if isinstance(value, torch.Generator):
            raise UnrecordableError("the program draws from a torch.Generator of its own")
        if not isinstance(value, Tensor):
            return value
        node = self._nodes.get(value)
        if node is None:
            node = self._nodes[value] = self._placeholder(f"lifted_{len(self.lifted)}")
            self.lifted.append(value)
        return node

    def _literal(self, value: Tensor) -> Node:
        """Numbers written in a program, on their way to become a tensor."""
        name = f"literal_{len(self._literals)}"
        self._literals[name] = value.detach().clone()
        return self._graph.get_attr(name)

    def _remember(self, args: Any, kwargs: Any) -> None:  # noqa: ANN401  # an operator's arguments
        """Keep what lies in tensors from elsewhere whose memory an operator is about to write to."""
        written = {each.untyped_storage()._cdata for each in tree_leaves((args, kwargs)) if isinstance(each, Tensor)}
        kept = {id(tensor) for tensor, _ in self._written}
        for tensor in self.lifted:
            if id(tensor) not in kept and tensor.untyped_storage()._cdata in written:
                self._written.append((tensor, tensor.detach().clone()))

    def _note(self, result: Any, node: Node, operator_name: str) -> None:  # noqa: ANN401  # what an operator gives
        if isinstance(result, Tensor):
            self._nodes[result] = node
            node.meta["made"] = result.shape, result.dtype, result.device, result.is_contiguous()
        elif isinstance(result, (list, tuple)):
            for at, each in enumerate(result):
                if isinstance(each, Tensor):
                    self._nodes[each] = self._graph.call_function(operator.getitem, (node, at))
        elif result is not None:
            raise UnrecordableError(f"the program reads a value on the host ({operator_name})")


def in_words(error: Exception) -> str:
    """Say in one line why a program was not recorded, and where."""
    text = str(error).strip().partition("\n")[0][:300]
    reason = text if isinstance(error, UnrecordableError) else f"{type(error).__name__}: {text}"
    places = [note for note in getattr(error, "__notes__", ()) if note]
    return f"{reason} ({places[0]})" if places else reason


def _refuse(func: Any, args: Any) -> None:  # noqa: ANN401  # an operator and its arguments
    if func in _DISHONEST and args[5]:
        raise UnrecordableError(f"{func} writes running statistics in a way that no graph shows")
    if torch.Tag.data_dependent_output in func.tags:
        raise UnrecordableError(f"the program reads a value on the host ({func})")
    if torch.Tag.dynamic_output_shape in func.tags and not _picks_by_number(func, args):
        raise UnrecordableError(f"the shape of a result depends on values ({func})")


def _picks_by_number(func: Any, args: Any) -> bool:  # noqa: ANN401  # an operator and its arguments
    """Tell whether an indexing operator has no mask among its indices, so that the shape is known."""
    if func.overloadpacket is not torch.ops.aten.index:
        return False
    return all(each is None or each.dtype not in (torch.bool, torch.uint8) for each in args[1])


def _digest(module: GraphModule) -> str:
    places: dict[Node, int] = {}
    lines = []
    for at, node in enumerate(module.graph.nodes):
        places[node] = at
        named = torch.fx.node.map_arg((node.args, node.kwargs), lambda each: f"%{places[each]}")
        lines.append(f"{node.op} {_shown(node, module)} {named!r}")
    return hashlib.sha256("\n".join(lines).encode()).hexdigest()


def _shown(node: Node, module: GraphModule) -> str:
    """Return what a node is, without the names that the order of recording has given."""
    if node.op == "get_attr":
        value = module.get_buffer(str(node.target))
        return f"{value.dtype} {tuple(value.shape)} {value.tolist()!r}"
    return str(node.target) if node.op == "call_function" else ""
