"""Given tensors in place of the stored ones, for the extent of one block and in one context only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextvars import ContextVar, Token
from typing import final

from torch import Tensor
from torch.distributions import constraints
from torch.distributions.constraints import Constraint
from torch.distributions.transforms import Transform

from aleator.errors import ParameterError
from aleator.params.entries import Entry, LeafReference, StoredParameter, is_identity, transform_for
from aleator.params.lean_transforms import forward_of
from aleator.params.naming import nearest

__all__ = ["BOUND", "Binding"]

# The binding that was entered last in this context; earlier ones hang on it.
BOUND: ContextVar[Binding | None] = ContextVar("aleator_bound_parameters", default=None)


@final
class Binding:
    """A context manager under which one store reads the tensors it was given.

    Made by ``ParamStore.bind``. The tensors are used as they are: no copy, no detach, no number is read, so that
    views, traced tensors and those of ``torch.func`` work. A binding of the same store inside this one takes its place
    until it ends. Threads that start meanwhile see the stored values.
    """

    __slots__ = ("_outer", "_stored", "_token", "_unstored", "buffers", "store", "unconstrained")

    def __init__(
        self,
        store: object,
        stored: Mapping[str, StoredParameter],
        unconstrained: Mapping[str, Tensor],
        buffers: Mapping[str, Tensor],
    ) -> None:
        self.store = store
        self.unconstrained = unconstrained
        self.buffers = buffers
        self._stored = stored
        self._unstored: dict[str, tuple[Transform, Constraint]] = {}
        self._outer: Binding | None = None
        self._token: Token[Binding | None] | None = None

    def __enter__(self) -> Binding:
        if self._token is not None:
            raise RuntimeError("this binding is in use already; call bind() again for another block")
        self._outer = BOUND.get()
        self._token = BOUND.set(self)
        return self

    def __exit__(self, *exception: object) -> None:
        assert self._token is not None
        BOUND.reset(self._token)
        self._token = None
        self._outer = None

    def of(self, store: object) -> Binding | None:
        """Return the innermost binding of a store, from this one outward."""
        binding: Binding | None = self
        while binding is not None and binding.store is not store:
            binding = binding._outer
        return binding

    def read(self, name: str, constraint: Constraint | None = None) -> Tensor:
        """Return the constrained value of a bound parameter.

        Args:
            name: the parameter.
            constraint: the constraint where the store has none for this name; the first one that is stated counts.

        Raises:
            ParameterError: the name is not among those bound.
        """
        unconstrained = self.leaf(name)
        stored = self._stored.get(name)
        forward = stored.forward if stored is not None else self._forward_of(name, constraint)
        value = unconstrained if forward is None else forward(unconstrained)
        value.unconstrained = LeafReference(unconstrained)  # type: ignore[attr-defined]  # as a stored value has it
        return value

    def entry(self, name: str) -> Entry:
        """Return the bound tensor with its transform and constraint."""
        return Entry(self.leaf(name), *self._constraint_of(name, None))

    def leaf(self, name: str) -> Tensor:
        """Return the bound unconstrained tensor."""
        try:
            return self.unconstrained[name]
        except KeyError:
            raise ParameterError(
                f"parameter {name!r} is not among those bound for this step{nearest(name, self.unconstrained)}; "
                "a step creates no parameters: run the program once before, or add the name to what is bound"
            ) from None

    def buffer(self, name: str) -> Tensor:
        """Return the bound buffer."""
        try:
            return self.buffers[name]
        except KeyError:
            raise ParameterError(
                f"buffer {name!r} is not among those bound for this step{nearest(name, self.buffers)}; "
                "run the program once before, or add the name to what is bound"
            ) from None

    def _forward_of(self, name: str, stated: Constraint | None) -> Callable[[Tensor], Tensor] | None:
        transform, constraint = self._constraint_of(name, stated)
        return None if is_identity(constraint) else forward_of(transform)

    def _constraint_of(self, name: str, stated: Constraint | None) -> tuple[Transform, Constraint]:
        stored = self._stored.get(name)
        if stored is not None:
            return stored.entry[1:]
        known = self._unstored.get(name)
        if known is None:
            constraint = constraints.real if stated is None else stated
            known = transform_for(constraint, name), constraint
            if stated is not None:
                self._unstored[name] = known
        return known
