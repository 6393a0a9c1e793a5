"""Find on which sampled values a tensor depends, by watching every operation of one run.

Every operation that torch dispatches is seen, so that indexing, ``where``, in-place writes, views, modules and custom
autograd functions are followed without a tensor subclass. What a program reads on the host (``item``, ``tolist``,
``if tensor:``, the length of ``nonzero``) can steer everything after it: from there on all sites are counted as
dependent on it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

__all__ = ["DependencyTracker"]

Sources = frozenset[str]
NOTHING: Sources = frozenset()


@final
class DependencyTracker:
    """Which sources each tensor's memory depends on, while its ``with`` block lasts.

    Attributes:
        control: the sources that were read on the host, and so may have steered the program.
    """

    def __init__(self) -> None:
        # By storage: a write through a view reaches its base. Storages are held, so that no address is used again.
        self._sources: dict[int, Sources] = {}
        self._held: list[Any] = []
        self.control: Sources = NOTHING
        self._dispatch = _DispatchWatch(self)
        self._reads = _HostReadWatch(self)

    def __enter__(self) -> DependencyTracker:
        self._dispatch.__enter__()  # type: ignore[no-untyped-call]  # torch's
        self._reads.__enter__()  # type: ignore[no-untyped-call]  # torch's
        return self

    def __exit__(self, *exception: Any) -> None:  # noqa: ANN401  # the protocol's three values
        self._reads.__exit__(*exception)  # type: ignore[no-untyped-call]  # torch's
        self._dispatch.__exit__(*exception)  # type: ignore[no-untyped-call]  # torch's

    def of(self, value: Any) -> Sources:  # noqa: ANN401  # tensors, or trees of them
        """Return the sources of a tensor, or of all tensors in a tree; host reads so far included."""
        found = self.control
        for leaf in _tensors(value):
            found |= self._sources.get(_address(leaf), NOTHING)
        return found

    def mark(self, value: Any, sources: Iterable[str]) -> None:  # noqa: ANN401  # tensors, or trees of them
        """State that tensors depend on these sources, besides those found."""
        self._extend(_tensors(value), frozenset(sources))

    def begin(self, value: Tensor, source: str) -> Tensor:
        """Return a copy of a value in a memory of its own that depends on one source, and on nothing before it."""
        copy = value.clone()
        self._extend((copy,), NOTHING)
        self._sources[_address(copy)] = frozenset((source,))
        return copy

    def read(self, value: Any) -> None:  # noqa: ANN401  # tensors, or trees of them
        """Count a value as read on the host."""
        self.control = self.of(value)

    def watch(self, inputs: Sequence[Any], outputs: Any, written: Iterable[Tensor]) -> None:  # noqa: ANN401  # torch's protocol
        """Let outputs, and what the operation wrote to, depend on all that the inputs depend on."""
        sources = NOTHING
        for leaf in inputs:
            if isinstance(leaf, Tensor):
                sources |= self._sources.get(_address(leaf), NOTHING)
        if sources:
            self._extend(_tensors(outputs), sources)
            self._extend(written, sources)

    def _extend(self, tensors: Iterable[Tensor], sources: Sources) -> None:
        for tensor in tensors:
            address = _address(tensor)
            if address not in self._sources:
                self._held.append(tensor)
            self._sources[address] = self._sources.get(address, NOTHING) | sources


def _tensors(value: Any) -> Iterator[Tensor]:  # noqa: ANN401  # trees of any kind
    return (leaf for leaf in tree_leaves(value) if isinstance(leaf, Tensor))


def _address(tensor: Tensor) -> int:
    try:
        return int(tensor.untyped_storage()._cdata)  # the identity of the storage object
    except (NotImplementedError, RuntimeError):
        return id(tensor)  # sparse tensors, and others that have no storage of their own


@final
class _DispatchWatch(TorchDispatchMode):
    """Reports every operation that reaches a kernel."""

    def __init__(self, tracker: DependencyTracker) -> None:
        super().__init__()  # type: ignore[no-untyped-call]  # torch's
        self._tracker = tracker

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Torch asks this of a mode: to be skipped by Dynamo would import Dynamo, which costs seconds."""
        return False

    def __torch_dispatch__(
        self,
        func: Any,  # noqa: ANN401  # torch's protocol
        types: Any,  # noqa: ANN401  # torch's protocol
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  # torch's protocol
        kwargs = kwargs or {}
        outputs = func(*args, **kwargs)
        inputs = tree_leaves((args, dict(kwargs)))
        if torch.Tag.data_dependent_output in func.tags:
            self._tracker.read(args)
            return outputs
        if torch.Tag.dynamic_output_shape in func.tags and _shape_tells(func, inputs):
            # The host sees how many elements came out.
            self._tracker.read(args)
        written = [
            leaf
            for value, argument in zip(args, func._schema.arguments, strict=False)
            if argument.alias_info is not None and argument.alias_info.is_write
            for leaf in _tensors(value)
        ]
        self._tracker.watch(inputs, outputs, written)
        return outputs


def _shape_tells(func: Any, inputs: Sequence[Any]) -> bool:  # noqa: ANN401  # torch's protocol
    """Whether the shape of an output says something about the inputs' values; indexing by numbers does not."""
    if func is not torch.ops.aten.index.Tensor:
        return True
    return any(isinstance(leaf, Tensor) and leaf.dtype in (torch.bool, torch.uint8) for leaf in inputs[1:])


def _is_number(index: object) -> bool:
    return isinstance(index, Tensor) and index.dim() == 0 and index.dtype in (torch.int64, torch.int32)


_HOST_READS: frozenset[Callable[..., Any]] = frozenset({Tensor.tolist, Tensor.numpy, Tensor.__array__})


@final
class _HostReadWatch(TorchFunctionMode):
    """Reports the reads that reach no kernel."""

    def __init__(self, tracker: DependencyTracker) -> None:
        super().__init__()
        self._tracker = tracker

    def __torch_function__(
        self,
        func: Any,  # noqa: ANN401  # torch's protocol
        types: Any,  # noqa: ANN401  # torch's protocol
        args: tuple[Any, ...] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:  # noqa: ANN401  # torch's protocol
        if func is Tensor.__getitem__ and any(map(_is_number, tree_leaves(args[1]))):
            return self._look_up(args[0], args[1])
        if func in _HOST_READS:
            self._tracker.read(args)
        return func(*args, **(kwargs or {}))

    def _look_up(self, table: Tensor, index: Any) -> Tensor:  # noqa: ANN401  # whatever indexes a tensor
        """Index by tensors without dims: torch reads them as numbers, but they steer nothing beyond the result.

        The result has a memory of its own, so that the table itself does not come to depend on the index.
        """
        tracker = self._tracker
        control = tracker.control
        found = table[index].clone()
        tracker.control = control
        tracker.mark(found, tracker.of(index))
        return found
