"""The store of parameters."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import final

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.constraints import Constraint

from aleator.errors import ParameterError
from aleator.params.binding import Binding
from aleator.params.buffers import Buffers
from aleator.params.creation import created
from aleator.params.entries import StoredParameter, transform_for
from aleator.params.files import MapLocation, read_checkpoint, write_checkpoint
from aleator.params.initial import as_value, check_leaf, unconstrain
from aleator.params.overview import overview
from aleator.params.reading import Init, Readable
from aleator.params.state import Content, StoreState, adopted, decode_state, encode_state, merge, state_of

__all__ = ["STORES", "ParamStore"]

# The stores that were entered in this context, the current one last.
STORES: ContextVar[tuple[ParamStore, ...]] = ContextVar("aleator_stores", default=())

_KIND = "aleator.params"


@final
class ParamStore(Readable):
    """Parameters by name: kept unconstrained, where an optimizer can move them anywhere, and read constrained.

    A value is read as ``transform_to(constraint)(leaf)``; for ``real`` it is the leaf itself. The leaf is a tensor that
    requires grad; ``store[name].unconstrained()`` gives it too. A simplex of K values is the softmax of K unconstrained
    ones (not of K - 1, as ``biject_to`` has it): adding a constant to all of them changes no value, gradients sum to
    zero over them, and an optimizer with weight decay or per-element scaling sees all K.

    Beside parameters, ``buffers`` holds tensors of the run that are not optimized.

    ``with store:`` makes a store the current one of this context; a thread starts with the process's default store.
    Creating a name is locked, so that of several threads the first one wins; training in two threads takes a store
    for each.

    Example:
        >>> import torch
        >>> from torch.distributions import constraints
        >>> from aleator.params import ParamStore
        >>> store = ParamStore()
        >>> store.setdefault("scale", torch.tensor(1.0), constraints.positive)
        tensor(1., grad_fn=<ExpBackward0>)
        >>> store.unconstrained("scale")
        tensor(0., requires_grad=True)
        >>> store["scale"] = torch.tensor(2.0)
        >>> store
        ParamStore of 1 parameter and 0 buffers
          'scale': positive, shape (), torch.float32 on cpu
    """

    __slots__ = ("__weakref__", "_being_created", "_buffers", "_lock")

    def __init__(self) -> None:
        self._parameters: dict[str, StoredParameter] = {}
        self._buffers: dict[str, Tensor] = {}
        self._being_created: set[str] = set()
        self._lock = threading.RLock()

    @property
    def buffers(self) -> Buffers:
        """Tensors that belong to the run and are not optimized, as a mutable mapping."""
        return Buffers(self)

    def __setitem__(self, name: str, value: Tensor | float) -> None:
        """Store a constrained value; the constraint stays, and is ``real`` for a new name.

        A leaf of the right shape stays the same tensor, so that optimizers and modules follow.

        Raises:
            ParameterError: the value is not finite or lies outside the constraint, or the store is bound.
        """
        with self._changing(f"assign parameter {name!r}"):
            stored = self._parameters.get(name)
            constraint = constraints.real if stored is None else stored.constraint
            transform = transform_for(constraint, name) if stored is None else stored.entry.transform
            unconstrained = unconstrain(name, as_value(name, value), constraint, transform)
            if stored is not None and stored.leaf.shape == unconstrained.shape:
                with torch.inference_mode(False), torch.no_grad():
                    stored.leaf.copy_(unconstrained)
            else:
                self._parameters[name] = StoredParameter(unconstrained.requires_grad_(), constraint, transform)

    def __delitem__(self, name: str) -> None:
        with self._changing(f"delete parameter {name!r}"):
            if name not in self._parameters:
                raise self._missing(name)
            del self._parameters[name]

    def clear(self) -> None:
        """Remove all parameters and buffers."""
        with self._changing("clear"):
            self._parameters, self._buffers = {}, {}

    def register(self, name: str, parameter: Tensor, constraint: Constraint = constraints.real) -> Tensor:
        """Make a given tensor, such as a module's own Parameter, the leaf under a new name, and return it.

        Args:
            name: the parameter.
            parameter: a leaf that requires grad and holds *unconstrained* values; it stays the same tensor.
            constraint: where the values that are read lie.

        Raises:
            ParameterError: the name is stored with another leaf, or the tensor cannot be a leaf of the store.
        """
        with self._changing(f"register parameter {name!r}"):
            stored = self._parameters.get(name)
            if stored is not None and stored.leaf is not parameter:
                raise ParameterError(
                    f"parameter {name!r} is stored already; adopt() it to copy the stored value into the given tensor, "
                    "or delete it first"
                )
            if stored is None:
                check_leaf(name, parameter)
                self._parameters[name] = StoredParameter(parameter, constraint, transform_for(constraint, name))
        return parameter

    def adopt(self, name: str, parameter: Tensor) -> Tensor:
        """Make a given tensor the leaf under a name, with the value stored there, and return it.

        The stored value is copied into the tensor and the constraint stays. A new name is registered as ``real``.

        Raises:
            ParameterError: the stored value has another shape, or the tensor cannot be a leaf of the store.
        """
        stored = self._parameters.get(name)
        if stored is not None and stored.leaf is parameter:
            return parameter
        with self._changing(f"adopt parameter {name!r}"):
            stored = self._parameters.get(name)
            if stored is None:
                return self.register(name, parameter)
            check_leaf(name, parameter, values=False)
            if stored.leaf.shape != parameter.shape:
                raise ParameterError(
                    f"parameter {name!r} is stored with shape {tuple(stored.leaf.shape)}, but the given tensor "
                    f"has shape {tuple(parameter.shape)}; clear the store, or build the module as it was"
                )
            with torch.inference_mode(False), torch.no_grad():
                parameter.copy_(stored.leaf)
            self._parameters[name] = StoredParameter(parameter, stored.constraint, stored.entry.transform)
        return parameter

    @property
    def is_bound(self) -> bool:
        """Whether given tensors stand in for the stored ones in this context."""
        return self._binding() is not None

    def bind(self, unconstrained: Mapping[str, Tensor], buffers: Mapping[str, Tensor] | None = None) -> Binding:
        """Return a context manager under which this store reads the given tensors and creates nothing.

        The tensors are used as they are (views, traced tensors, those of ``torch.func``), through the constraint that
        is stored under their name, else the one the program states. The store then has exactly the bound names; it
        cannot be written. Other threads and tasks see the stored values.

        Args:
            unconstrained: unconstrained values by name.
            buffers: buffers by name.

        Example:
            >>> import torch
            >>> store = ParamStore()
            >>> with store.bind({"loc": torch.tensor(3.0)}):
            ...     store.read("loc", torch.tensor(0.0))
            tensor(3.)
            >>> "loc" in store
            False
        """
        return Binding(self, self._parameters, unconstrained, {} if buffers is None else buffers)

    @contextmanager
    def scope(self, state: StoreState | None = None) -> Iterator[StoreState]:
        """Set the content aside for the extent of a ``with`` block, in every thread, and bring it back after.

        Args:
            state: what the store holds inside; nothing by default. Tensors that are leaves are used as they are.

        Returns:
            ``state`` (or a new one), which at the end receives what the store held inside, so that another ``scope``
            can go on from there.

        Raises:
            ParameterError: the state is none, or the store is bound.
        """
        inner: StoreState = {} if state is None else state
        with self._changing("enter a scope"):
            content = adopted(inner)
            outer, self._parameters, self._buffers = self._content(), content.parameters, content.buffers
        inner.update(state_of(content))
        try:
            yield inner
        finally:
            with self._lock:
                inner.update(state_of(self._content()))
                self._parameters, self._buffers = outer.parameters, outer.buffers

    def get_state(self) -> StoreState:
        """Return a copy of all unconstrained values, constraints and buffers; later training does not change it."""
        with self._lock:
            state = state_of(self._content())
        for table in (state["params"], state["buffers"]):
            for name, value in table.items():
                table[name] = value.detach().clone()
        return state

    def set_state(self, state: StoreState) -> None:
        """Bring a state in; names that it lacks stay. Leaves and buffers that fit are kept, their values replaced.

        Raises:
            ParameterError: the state is none, or the store is bound; the store is as it was.
        """
        with self._changing("set the state"):
            merge(self._content(), state)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write parameters, constraints and buffers to a file; what is there stays whole if that fails.

        Raises:
            ParameterError: a parameter's constraint is none of ``torch.distributions.constraints``.
            OSError: the file cannot be written.
        """
        with self._lock:
            payload = encode_state(state_of(self._content()))
        write_checkpoint(path, payload, _KIND)

    def load(self, path: str | os.PathLike[str], map_location: MapLocation = None) -> None:
        """Bring in what :meth:`save` wrote, all of it or nothing, as :meth:`set_state` does. No code is run.

        Args:
            path: the file.
            map_location: where new tensors go, as in ``torch.load``; leaves that are kept stay where they are.

        Raises:
            FileNotFoundError: there is no such file.
            CheckpointError: it is damaged, foreign, or from a newer version; the store is as it was.
        """
        self.set_state(decode_state(read_checkpoint(path, _KIND, map_location)))

    def __enter__(self) -> ParamStore:
        STORES.set((*STORES.get(), self))
        return self

    def __exit__(self, *exception: object) -> None:
        STORES.set(STORES.get()[:-1])

    def __repr__(self) -> str:
        return overview(self._parameters, self._buffers)

    def _content(self) -> Content:
        return Content(self._parameters, self._buffers)

    @contextmanager
    def _changing(self, what: str) -> Iterator[None]:
        """Hold the lock; refuse where given tensors stand in for the stored ones, which a write would miss."""
        if self._binding() is not None:
            raise ParameterError(f"cannot {what} while the store is bound; do it before or after the `with store.bind`")
        with self._lock:
            yield

    def _create(self, name: str, init: Init, constraint: Constraint | None) -> StoredParameter:
        with self._lock:
            stored = self._parameters.get(name)
            if stored is not None:
                return stored
            if init is None:
                raise self._missing(name)
            if name in self._being_created:
                raise ParameterError(f"parameter {name!r}: its initial value reads the parameter itself")
            self._being_created.add(name)
            try:
                stored = created(name, init, constraints.real if constraint is None else constraint)
                return self._parameters.setdefault(name, stored)
            finally:
                self._being_created.discard(name)
