"""The reading side of a store: a mapping from names to constrained values."""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable, ItemsView, Iterator, KeysView, Mapping, ValuesView
from typing import TypeVar, cast

from torch import Tensor
from torch.distributions.constraints import Constraint

from aleator.params.binding import BOUND, Binding
from aleator.params.entries import Entry, StoredParameter
from aleator.params.naming import MissingParameterError, nearest

__all__ = ["Init", "Readable"]

T = TypeVar("T")
Init = Tensor | float | Callable[[], Tensor | float] | None


class Readable(ABC):
    """What can be asked of a store by name; while it is bound, the bound tensors answer."""

    __slots__ = ("_parameters",)

    _parameters: dict[str, StoredParameter]

    @abstractmethod
    def _create(self, name: str, init: Init, constraint: Constraint | None) -> StoredParameter:
        """Store a new parameter, or return the one that another thread has stored meanwhile."""

    def read(
        self, name: str, init: Init = None, constraint: Constraint | None = None, event_dim: int | None = None
    ) -> Tensor:
        """Return the constrained value under a name, creating it from ``init`` where there is none.

        What is stored counts, whatever else is passed; a shape or constraint that differs from it warns once.

        Args:
            name: the parameter.
            init: the first value, constrained: a tensor or number (copied), or a callable without arguments that
                returns one and is called once, without a graph.
            constraint: where the value lies; None is "not stated", which means ``real`` for a new name.
            event_dim: how many dims on the right belong to one event. The store has no use for it; handlers do.

        Raises:
            ParameterError: the name is new and there is no ``init``, or the value is not finite or lies outside the
                constraint; nothing is stored. Under :meth:`bind`: the name is not bound.
        """
        bound = BOUND.get()
        if bound is not None:
            bound = bound.of(self)
            if bound is not None:
                return bound.read(name, constraint)
        stored = self._parameters.get(name)
        if stored is None:
            return self._create(name, init, constraint).value()
        if (
            (constraint is not None and constraint is not stored.constraint)
            or (isinstance(init, Tensor) and init.shape != stored.shape)
        ) and not stored.settled:
            stored.compare(name, init, constraint)
        return stored.value()

    def __getitem__(self, name: str) -> Tensor:
        """Return the constrained value under a name; ``ParameterError``, also a ``KeyError``, where there is none."""
        return self.read(name)

    def get(self, name: str, default: T | None = None) -> Tensor | T | None:
        """Return the constrained value under a name, or the default."""
        return self.read(name) if name in self else default

    def setdefault(self, name: str, init: Init, constraint: Constraint | None = None) -> Tensor:
        """Return the constrained value under a name, stored now where the name is new; as :meth:`read`."""
        return self.read(name, init, constraint)

    def match(self, pattern: str) -> dict[str, Tensor]:
        """Return the constrained values whose names match a regular expression from their start."""
        expression = re.compile(pattern)
        return {name: self.read(name) for name in self if expression.match(name)}

    def unconstrained(self, name: str) -> Tensor:
        """Return the unconstrained leaf under a name, or, under :meth:`bind`, the bound tensor."""
        return self.entry(name).leaf

    def constraint(self, name: str) -> Constraint:
        """Return the constraint of the parameter under a name."""
        return self.entry(name).constraint

    def entry(self, name: str) -> Entry:
        """Return leaf, transform and constraint under a name, without making the constrained value."""
        binding = self._binding()
        if binding is not None:
            return binding.entry(name)
        stored = self._parameters.get(name)
        if stored is None:
            raise self._missing(name)
        return stored.entry

    def named_parameters(self) -> Iterator[tuple[str, Tensor]]:
        """Yield names with their unconstrained leaves: what an optimizer takes."""
        for name in self:
            yield name, self.unconstrained(name)

    def keys(self) -> KeysView[str]:
        """Return a view of the names."""
        return KeysView(cast("Mapping[str, Tensor]", self))

    def values(self) -> ValuesView[Tensor]:
        """Return a view of the constrained values."""
        return ValuesView(cast("Mapping[str, Tensor]", self))

    def items(self) -> ItemsView[str, Tensor]:
        """Return a view of names with constrained values."""
        return ItemsView(cast("Mapping[str, Tensor]", self))

    def __contains__(self, name: object) -> bool:
        return name in self._names()

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._names()))

    def __len__(self) -> int:
        return len(self._names())

    def _binding(self) -> Binding | None:
        binding = BOUND.get()
        return None if binding is None else binding.of(self)

    def _names(self) -> Mapping[str, object]:
        binding = self._binding()
        return self._parameters if binding is None else binding.unconstrained

    def _missing(self, name: str) -> MissingParameterError:
        return MissingParameterError(
            f"parameter {name!r} is not in the store{nearest(name, self)}; "
            "give it an initial value where the program first names it, or load the store before"
        )
