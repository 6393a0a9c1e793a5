"""The buffers of a store as a mapping."""

from __future__ import annotations

from collections.abc import Iterator, MutableMapping
from typing import TYPE_CHECKING, final

from torch import Tensor

from aleator.errors import ParameterError
from aleator.params.naming import MissingParameterError, nearest

if TYPE_CHECKING:
    from aleator.params.store import ParamStore

__all__ = ["Buffers"]


@final
class Buffers(MutableMapping[str, Tensor]):
    """Tensors that belong to the run and are not optimized, by name: a live view of a store.

    A tensor is kept as it is, so that a module's own buffer stays that module's; a graph is cut off. Under
    ``ParamStore.bind`` the bound buffers are read, and none can be written.

    Raises:
        ParameterError: a missing name is read or deleted (also a ``KeyError``), a value is no tensor, or a buffer is
            written while the store is bound.

    Example:
        >>> import torch
        >>> from aleator.params import ParamStore
        >>> store = ParamStore()
        >>> store.buffers["baseline/z"] = torch.zeros(3)
        >>> store.buffers["baseline/z"]
        tensor([0., 0., 0.])
        >>> "baseline/z" in store, len(store.buffers)
        (False, 1)
    """

    __slots__ = ("_store",)

    def __init__(self, store: ParamStore) -> None:
        self._store = store

    def __getitem__(self, name: str) -> Tensor:
        binding = self._store._binding()
        if binding is not None:
            return binding.buffer(name)
        try:
            return self._store._buffers[name]
        except KeyError:
            raise MissingParameterError(f"buffer {name!r} is not in the store{nearest(name, self)}") from None

    def __setitem__(self, name: str, value: Tensor) -> None:
        if not isinstance(value, Tensor):
            raise ParameterError(f"buffer {name!r}: expected a tensor, found a {type(value).__name__}")
        with self._store._changing(f"write buffer {name!r}"):
            self._store._buffers[name] = value.detach() if value.requires_grad else value

    def __delitem__(self, name: str) -> None:
        with self._store._changing(f"delete buffer {name!r}"):
            if name not in self._store._buffers:
                raise MissingParameterError(f"buffer {name!r} is not in the store{nearest(name, self)}")
            del self._store._buffers[name]

    def __contains__(self, name: object) -> bool:
        binding = self._store._binding()
        return name in (self._store._buffers if binding is None else binding.buffers)

    def __iter__(self) -> Iterator[str]:
        binding = self._store._binding()
        return iter(tuple(self._store._buffers if binding is None else binding.buffers))

    def __len__(self) -> int:
        binding = self._store._binding()
        return len(self._store._buffers if binding is None else binding.buffers)

    def __repr__(self) -> str:
        return f"Buffers({', '.join(f'{name!r}: {tuple(value.shape)}' for name, value in self.items())})"
