"""Which elements of a plate a run looks at: all of them, those given, or a random choice."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import torch
from torch import Tensor

from aleator import randomness
from aleator.capture import values_are_readable

__all__ = ["SubsampleIndices", "all_indices", "settle_sizes"]


@final
class SubsampleIndices:
    """What a plate's ``subsample`` site calls for its indices: all of them, or a random choice without replacement."""

    __slots__ = ("device", "size", "subsample_size")

    def __init__(self, size: int, subsample_size: int, device: torch.device | str | None) -> None:
        self.size = size
        self.subsample_size = subsample_size
        self.device = None if device is None else torch.device(device)

    def __call__(self) -> Tensor:
        """Return the indices."""
        if self.subsample_size >= self.size:
            return all_indices(self.size, self.device)
        return randomness.permutation(self.size, self.subsample_size, device=self.device)


_function_modes = torch._C._len_torch_function_stack
_ALL_INDICES: dict[tuple[int, str], Tensor] = {}


def all_indices(size: int, device: torch.device | str | None) -> Tensor:
    """Return ``0, 1, ...``, one tensor per size and device: a cache, since every step of every full plate asks.

    Its identity also tells a plate, without reading, that it has all elements in order. A tensor that somebody wrote
    into is not handed out again.
    """
    if device is None and _function_modes():  # a default device other than the CPU is such a mode
        device = torch.get_default_device()
    key = (size, "cpu" if device is None else str(device))
    indices = _ALL_INDICES.get(key)
    if indices is None or indices._version != 0:
        indices = torch.arange(size, device=device)
        if type(indices) is Tensor and not indices.is_inference() and values_are_readable():
            if len(_ALL_INDICES) >= 256:
                _ALL_INDICES.clear()
            _ALL_INDICES[key] = indices
    return indices


def settle_sizes(
    name: str,
    size: int | Tensor | None,
    subsample_size: int | None,
    subsample: Tensor | Sequence[int] | None,
    device: torch.device | str | None,
) -> tuple[int, int, Tensor | None]:
    """Settle full size, subsample size and explicit indices, or say what contradicts what."""
    if isinstance(size, Tensor):
        size = int(size)
    indices = None if subsample is None else torch.as_tensor(subsample, device=device)
    if indices is not None and indices.dim() != 1:
        raise ValueError(f"plate {name!r}: subsample must be a vector of indices, but has shape {tuple(indices.shape)}")
    if size is None:
        if indices is None:
            raise ValueError(f"plate {name!r} needs a size, or the indices of all its elements as subsample=")
        size = len(indices)
    if size < 0 or (size == 0 and subsample_size):
        raise ValueError(f"plate {name!r}: size must not be negative, but is {size}")
    if indices is not None:
        if subsample_size is not None and subsample_size != len(indices):
            raise ValueError(
                f"plate {name!r}: subsample_size is {subsample_size}, but subsample holds {len(indices)} indices"
            )
        subsample_size = len(indices)
    elif subsample_size is None:
        subsample_size = size
    if not (0 < subsample_size <= size or size == subsample_size == 0):
        raise ValueError(
            f"plate {name!r}: subsample_size must be between 1 and the size {size}, but is {subsample_size}"
        )
    return size, subsample_size, indices
