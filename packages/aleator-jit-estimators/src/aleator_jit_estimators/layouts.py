"""Where a state's tensors lie in one piece of memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Layout", "Vector"]

_ALIGNMENT = 64  # bytes
_MOST_NUMBERS = 20_000  # beyond, the calculation outweighs what handling tensors costs


class Vector(NamedTuple):
    """Leaves of a state that lie one behind the other, all of one dtype.

    Attributes:
        dtype: theirs.
        leaves: which ones.
        sizes: how many numbers each of them has.
        begin: where the first one begins, in bytes.
    """

    dtype: torch.dtype
    leaves: tuple[int, ...]
    sizes: tuple[int, ...]
    begin: int


class Layout(NamedTuple):
    """A row of bytes that holds a state: a vector for each dtype.

    Attributes:
        vectors: what lies in it.
        shapes: those of all leaves.
        size: how many bytes there are.
    """

    vectors: tuple[Vector, ...]
    shapes: tuple[torch.Size, ...]
    size: int

    @classmethod
    def of(cls, leaves: Sequence[Tensor]) -> Layout | None:
        """Return the layout of a state; ``None`` for one that is large, empty, or lies elsewhere than in the memory."""
        if not leaves or sum(leaf.numel() for leaf in leaves) > _MOST_NUMBERS:
            return None
        if not all(leaf.is_cpu and leaf.numel() and leaf.is_contiguous() for leaf in leaves):
            return None
        vectors: list[Vector] = []
        begin = 0
        for dtype in dict.fromkeys(leaf.dtype for leaf in leaves):
            places = tuple(at for at, leaf in enumerate(leaves) if leaf.dtype is dtype)
            sizes = tuple(leaves[at].numel() for at in places)
            vectors.append(Vector(dtype, places, sizes, begin))
            begin += -(-sum(sizes) * dtype.itemsize // _ALIGNMENT) * _ALIGNMENT
        return cls(tuple(vectors), tuple(leaf.shape for leaf in leaves), begin)

    def joined(self, leaves: Sequence[Tensor]) -> Tensor:
        """Return a new row that holds these leaves."""
        row = torch.empty(self.size, dtype=torch.uint8, device="cpu")
        for vector, into in zip(self.vectors, self.pieces(row), strict=True):
            torch.cat([leaves[at].detach().reshape(-1) for at in vector.leaves], out=into)
        return row

    def apart(self, row: Tensor) -> list[Tensor]:
        """Return the leaves in a row, as copies."""
        found: list[Tensor] = [row] * len(self.shapes)
        for vector, whole in zip(self.vectors, self.pieces(row), strict=True):
            for at, piece in zip(vector.leaves, torch.split(whole, list(vector.sizes)), strict=True):
                found[at] = piece.clone().view(self.shapes[at])
        return found

    def pieces(self, row: Tensor) -> list[Tensor]:
        """Return the vectors in a row, as views."""
        return [row[each.begin : each.begin + sum(each.sizes) * each.dtype.itemsize].view(each.dtype)
                for each in self.vectors]  # fmt: skip  # two lines, not four
