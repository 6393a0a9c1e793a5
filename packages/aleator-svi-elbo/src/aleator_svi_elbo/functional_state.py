"""The state of a functional run, and the randomness that it carries."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias, TypeVar, final

import torch
from torch import Tensor

from aleator.optim import OptimizerState
from aleator.randomness import RandomSource, rng

__all__ = ["SVIState", "later", "with_randomness"]

R = TypeVar("R")
_Items: TypeAlias = "tuple[dict[str, Tensor], OptimizerState, dict[str, Tensor], dict[str, Tensor]]"


class _Parts(NamedTuple):
    params: dict[str, Tensor]
    optim_state: OptimizerState
    buffers: dict[str, Tensor]
    rng: dict[str, Tensor]


@final
class _Unread:
    """Stands in the place of items that are made when somebody reads one."""


_UNREAD = _Unread()


@final
class SVIState(_Parts):
    """All that a functional run remembers: a named tuple, and a pytree of tensors.

    Attributes:
        params: unconstrained values by name.
        optim_state: what the optimizer remembers.
        buffers: tensors of the run that are not optimized, by name.
        rng: the state of the run's generators by device, byte tensors.
    """

    # A compiled step keeps a state in a form of its own; most states are only handed to the next step, so that a
    # state's items are made when somebody reads one. Until then, and after, the tuple itself holds what makes them.
    __slots__ = ()

    def _items(self) -> _Items:
        held: Any = tuple(tuple.__iter__(self))
        if held[0] is not _UNREAD:
            return held  # type: ignore[no-any-return]  # its four items
        cell: list[Any] = held[1]
        made, *arguments = cell
        if arguments:
            made = made(*arguments)
            if len(cell) > 1:  # no other thread was faster
                cell[:] = [made]
        items: _Items = cell[0]
        return items

    @property
    def params(self) -> dict[str, Tensor]:
        """Unconstrained values by name."""
        return self._items()[0]

    @property
    def optim_state(self) -> OptimizerState:
        """What the optimizer remembers."""
        return self._items()[1]

    @property
    def buffers(self) -> dict[str, Tensor]:
        """Tensors of the run that are not optimized, by name."""
        return self._items()[2]

    @property
    def rng(self) -> dict[str, Tensor]:
        """The state of the run's generators by device, byte tensors."""
        return self._items()[3]

    def __iter__(self) -> Iterator[Any]:
        return iter(self._items())

    def __reversed__(self) -> Iterator[Any]:
        return reversed(self._items())

    def __getitem__(self, key: Any) -> Any:  # noqa: ANN401  # a place or a slice
        return self._items()[key]

    def __contains__(self, value: object) -> bool:
        return value in self._items()

    def __eq__(self, other: object) -> bool:
        return self._items() == (other._items() if isinstance(other, SVIState) else other)

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash(self._items())

    def __add__(self, other: Any) -> Any:  # noqa: ANN401  # a tuple
        return self._items() + tuple(other)

    def __radd__(self, other: Any) -> Any:  # noqa: ANN401  # a tuple
        return tuple(other) + self._items()

    def __mul__(self, number: Any) -> Any:  # noqa: ANN401  # as a tuple's
        return self._items() * number

    __rmul__ = __mul__

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={value!r}" for name, value in zip(self._fields, self, strict=True))
        return f"SVIState({fields})"

    def __reduce__(self) -> tuple[type[SVIState], _Items]:
        return SVIState, self._items()

    def index(self, *wanted: Any) -> int:  # noqa: ANN401  # as a tuple's
        """Return the place of a value."""
        return self._items().index(*wanted)

    def count(self, value: Any) -> int:  # noqa: ANN401  # as a tuple's
        """Return how often a value is there."""
        return self._items().count(value)


def later(cell: list[Any]) -> SVIState:
    """Return a state whose items are made when the first of them is read.

    Args:
        cell: a function and its arguments. When it has been called, the cell holds its result, and only that.
    """
    return tuple.__new__(SVIState, (_UNREAD, cell, None, None))


def with_randomness(state: dict[str, Tensor], draw: Callable[[], R]) -> tuple[R, dict[str, Tensor]]:
    """Return what a function gives that draws from a stored state of generators, and their state after it.

    Under ``vmap`` over states, the lanes draw from one stream that is seeded by a draw from every lane's own, and each
    lane's own moves on by that draw.
    """
    lanes = {device: _lanes(stored) for device, stored in state.items()}
    if all(found is None for found in lanes.values()):
        source = RandomSource.from_state(state)
        with rng(source):
            result = draw()
        return result, source.get_state()
    found = lanes["cpu"]
    if found is None or len(lanes) > 1:
        raise ValueError("vmap over states of SVI maps the randomness of all devices or of none, and on the CPU only")
    level, states = found
    sources = [RandomSource.from_state({"cpu": lane}) for lane in states]
    with torch._C._DisableFuncTorch():
        seeds = [torch.randint(2**62, (), generator=source.generator()).item() for source in sources]
        after = torch.stack([source.get_state()["cpu"] for source in sources])
    with rng(int(sum(seeds)) % 2**62):
        result = draw()
    return result, {"cpu": torch._C._functorch._add_batch_dim(after, 0, level)}


def _lanes(stored: Tensor) -> tuple[int, list[Tensor]] | None:
    """Return the level of the ``vmap`` that maps a state of a generator, and every lane's; ``None`` where none does."""
    functorch: Any = torch._C._functorch
    if not functorch.is_batchedtensor(stored):
        return None
    level = functorch.maybe_get_level(stored)
    states = functorch.get_unwrapped(stored).movedim(functorch.maybe_get_bdim(stored), 0)
    if functorch.is_batchedtensor(states):
        raise ValueError("vmap over states of SVI cannot be nested; flatten the restarts into one dim")
    with torch._C._DisableFuncTorch():
        return level, [lane.clone() for lane in states.unbind()]
