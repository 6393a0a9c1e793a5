"""Plates: conditionally independent elements, as a tensor dim or as a loop, whole or subsampled."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, final

import torch
from torch import Tensor

from aleator.loops import LoopTurn, turns
from aleator.messenger import Messenger
from aleator.runtime import RUN, STACK, apply_stack
from aleator.sites import PlateFrame, Site
from aleator.subsampling import SubsampleIndices, all_indices, settle_sizes

__all__ = ["active_plates", "plate", "plate_stack", "reserve_dims", "subsample"]


@final
class plate(Messenger):
    """Declare that the elements under it are independent given what is outside it.

    As a context manager the plate is a tensor dim (``with plate("data", 10) as indices:``), as an iterator a loop
    (``for i in plate("data", 10):``); one object is used in one of the two ways. The subsample is drawn when the plate
    is *made*: a plate made outside the model keeps one minibatch for ever.

    Args:
        name: unique in its run; the plate's indices are a ``subsample`` site of that name.
        size: how many elements there are; may be left out where ``subsample`` gives the indices of all of them.
        subsample_size: how many elements to draw for this run; log-probabilities are then scaled by
            ``size / subsample_size``.
        subsample: the indices themselves, in place of random ones.
        dim: the tensor dim, counted from the right (negative); by default the rightmost that is free.
        device: where the indices live.

    Raises:
        ValueError: sizes that contradict each other, a dim or name in use, one plate as loop and as context.

    Example:
        >>> import torch, aleator
        >>> import aleator.distributions as dist
        >>> with aleator.plate("data", 3) as indices:
        ...     aleator.sample("x", dist.Normal(0.0, 1.0)).shape
        torch.Size([3])
        >>> [i for i in aleator.plate("loop", 3)]
        [0, 1, 2]
    """

    def __init__(
        self,
        name: str,
        size: int | None = None,
        subsample_size: int | None = None,
        subsample: Tensor | Sequence[int] | None = None,
        dim: int | None = None,
        device: torch.device | str | None = None,
    ) -> None:
        self.size, self.subsample_size, indices = settle_sizes(name, size, subsample_size, subsample, device)
        if dim is not None and (type(dim) is not int or dim >= 0):
            raise ValueError(f"plate {name!r}: dim counts from the right and must be a negative int, but found {dim!r}")
        self._stated_dim = dim
        self._device = device
        self.dim = dim
        self._used_as: str | None = None
        self.frame: PlateFrame | None = None
        site = Site("subsample", name, SubsampleIndices(self.size, self.subsample_size, device), value=indices)
        site.done = indices is not None
        self.indices: Tensor = apply_stack(site)
        # A scope around the plate has put its prefix before the name: the frames bear it too.
        self.name = name = site.name
        if len(self.indices) != self.subsample_size:
            if subsample_size is not None or indices is not None:
                raise ValueError(
                    f"plate {name!r}: expected {self.subsample_size} indices, but a handler (replay or "
                    f"condition) gave {len(self.indices)}; run both programs with one subsample size"
                )
            self.subsample_size = len(self.indices)

    def __enter__(self) -> Tensor:
        """Take the tensor dim, and return the indices."""
        self._use("context manager")
        site = Site("plate", self.name, self._allocate)
        self.frame = apply_stack(site)
        self.dim = self.frame.dim if self.frame is not None else None
        super().__enter__()
        return self.indices

    def __iter__(self) -> Iterator[int]:
        """Run the body once per element, with the element's index."""
        self._use("iterator")
        indices = range(self.size) if self._whole else self.indices.tolist()
        return turns((PlateTurn(self, counter), index) for counter, index in enumerate(indices))

    @property
    def _whole(self) -> bool:
        """Whether the indices are certain to be 0, 1, 2 ...: rows then need no selection, and no host read."""
        return self.subsample_size == self.size and self.indices is all_indices(self.size, self._device)

    def __len__(self) -> int:
        return self.subsample_size

    def __repr__(self) -> str:
        part = "" if self.subsample_size == self.size else f", subsample_size={self.subsample_size}"
        return f"plate({self.name!r}, {self.size}{part}, dim={self.dim})"

    def process_sample(self, site: Site) -> None:
        """Put this plate's frame around a site."""
        site.frames = (self.frame, *site.frames)  # type: ignore[arg-type]  # entered: the frame is there

    process_param = process_sample

    def postprocess_param(self, site: Site) -> None:
        """Hand out the rows of the minibatch where a parameter states its event dims."""
        event_dim = (site.kwargs or {}).get("event_dim")
        if event_dim is not None:
            site.value = self.select(site.value, event_dim, f"parameter {site.name!r}")

    def select(self, value: Tensor, event_dim: int, what: str) -> Tensor:
        """Return the rows of this run's subsample from a tensor that has all rows at the plate's dim.

        Raises:
            ValueError: where the tensor's size at that dim is neither 1 nor the plate's full size.
        """
        assert self.dim is not None
        dim = self.dim - event_dim
        if value.dim() < -dim or value.shape[dim] == 1:
            return value
        if value.shape[dim] != self.size:
            raise ValueError(
                f"{what}: plate {self.name!r} has full size {self.size} at dim {self.dim} (event_dim={event_dim}), but "
                f"the shape is {tuple(value.shape)}; give it all {self.size} rows: the plate picks those of the batch"
            )
        if self._whole:
            return value
        return value.index_select(dim, self.indices.to(value.device))

    def _use(self, form: str) -> None:
        if self._used_as not in (None, form):
            raise ValueError(
                f"plate {self.name!r} is used as {self._used_as} and as {form}; make two plates with names of their own"
            )
        for other in active_plates():
            if other.name == self.name:
                raise ValueError(f"plate {self.name!r} is entered inside a plate of that name; leave it first")
        self._used_as = form

    def _allocate(self) -> PlateFrame:
        taken = {frame.dim: frame.name for frame in vectorized_frames()}
        run = RUN.get()
        reserved = {} if run is None else run.reserved
        dim = self._stated_dim
        if dim is None:
            dim = -1
            while dim in taken or dim in reserved:
                dim -= 1
        elif dim in taken:
            raise ValueError(f"plates {taken[dim]!r} and {self.name!r} both claim dim {dim}; give one another dim")
        elif dim in reserved:
            raise ValueError(
                f"plate {self.name!r} claims dim {dim}, which is reserved for {reserved[dim]}; "
                f"use a dim further right, or a larger max_plate_nesting"
            )
        return PlateFrame(self.name, dim, self.subsample_size, self.size)


@final
class PlateTurn(LoopTurn):
    """One turn of a sequential plate."""

    def __init__(self, owner: plate, counter: int) -> None:
        self.name = owner.name
        self.frame = PlateFrame(owner.name, None, owner.subsample_size, owner.size, counter)

    def process_sample(self, site: Site) -> None:
        """Put this turn's frame around a site."""
        site.frames = (self.frame, *site.frames)

    process_param = process_sample


def active_plates() -> list[plate | PlateTurn]:
    """The plates that the caller stands in, the outermost first."""
    stack = STACK.get()
    if not stack or stack[0].is_abandoned():
        return []
    # Both classes are final: their identity is the cheaper question, and this one is asked at every entry.
    return [handler for handler in stack if type(handler) is plate or type(handler) is PlateTurn]


def vectorized_frames() -> list[PlateFrame]:
    """The frames of the tensor dims in use, the outermost first."""
    return [item.frame for item in active_plates() if item.frame is not None and item.frame.dim is not None]


def reserve_dims(count: int, left_of: int) -> range:
    """Reserve tensor dims for the extent of the run; plates do not take them, and shape checks accept them.

    Args:
        count: how many dims.
        left_of: the dims are free ones to the left of this (negative) dim; 0 reserves from dim -1 on.

    Returns:
        The dims, adjacent, the rightmost first.

    Raises:
        RuntimeError: outside a run (inside ``estimate``, or under any handler).

    Example:
        >>> from aleator import handlers
        >>> from aleator.plates import reserve_dims
        >>> with handlers.trace():
        ...     list(reserve_dims(2, left_of=-1))
        [-2, -3]
    """
    run = RUN.get()
    if run is None:
        raise RuntimeError(
            "reserve_dims was called outside a run; call it inside an estimator's estimate, or under a handler such as "
            "handlers.trace()"
        )
    if left_of > 0:
        raise ValueError(f"reserve_dims: left_of counts from the right and must not be positive, but is {left_of}")
    taken = {frame.dim for frame in vectorized_frames()} | set(run.reserved)
    first = left_of - 1
    while any(dim in taken for dim in range(first, first - count, -1)):
        first -= 1
    dims = range(first, first - count, -1)
    run.reserved.update(dict.fromkeys(dims, "a reserved dim"))
    return dims


@contextmanager
def plate_stack(prefix: str, sizes: Sequence[int], rightmost_dim: int = -1) -> Iterator[None]:
    """Enter one plate per size, the last size at ``rightmost_dim``, named ``prefix_0`` (the rightmost), ``prefix_1``.

    Example:
        >>> import aleator, aleator.distributions as dist
        >>> with aleator.plate_stack("grid", (2, 3)):
        ...     aleator.sample("x", dist.Normal(0.0, 1.0)).shape
        torch.Size([2, 3])
    """
    if rightmost_dim >= 0:
        raise ValueError(f"plate_stack {prefix!r}: rightmost_dim must be negative, but is {rightmost_dim}")
    with ExitStack() as stack:
        for index, size in enumerate(reversed(sizes)):
            stack.enter_context(plate(f"{prefix}_{index}", size, dim=rightmost_dim - index))
        yield


def subsample(data: Tensor, event_dim: int) -> Tensor:
    """Return the rows of the data that belong to the subsamples of the plates around the call.

    Args:
        data: a tensor with all rows of each plate at that plate's dim, left of ``event_dim`` event dims.
        event_dim: how many of the rightmost dims belong to one draw.

    Raises:
        ValueError: naming the plate, where the data have another size than the plate.

    Example:
        >>> import torch, aleator
        >>> with aleator.plate("data", 4, subsample=[0, 2]):
        ...     aleator.subsample(torch.arange(4.0), event_dim=0)
        tensor([0., 2.])
    """
    value: Any = data
    for handler in active_plates():
        if type(handler) is plate:
            value = handler.select(value, event_dim, "subsample(data)")
    return value  # type: ignore[no-any-return]  # a tensor in, a tensor out
