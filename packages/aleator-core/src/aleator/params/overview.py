"""What a store shows of itself: a line per parameter and buffer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from aleator.params.constraint_codec import describe_constraint

if TYPE_CHECKING:
    from aleator.params.entries import StoredParameter

__all__ = ["overview"]

_ROWS_SHOWN = 30


def overview(parameters: Mapping[str, StoredParameter], buffers: Mapping[str, Tensor]) -> str:
    """Return the text of ``repr(store)``; of very many rows the first ones."""
    head = f"ParamStore of {_count(parameters, 'parameter')} and {_count(buffers, 'buffer')}"
    rows = [
        f"  {name!r}: {describe_constraint(stored.constraint)}, {_describe(stored.leaf, stored.shape)}"
        for name, stored in parameters.items()
    ] + [f"  buffer {name!r}: {_describe(value, value.shape)}" for name, value in buffers.items()]
    more = [f"  and {len(rows) - _ROWS_SHOWN} more"] if len(rows) > _ROWS_SHOWN else []
    return "\n".join([head, *rows[:_ROWS_SHOWN], *more])


def _count(table: Mapping[str, object], what: str) -> str:
    return f"{len(table)} {what}{'' if len(table) == 1 else 's'}"


def _describe(value: Tensor, shape: torch.Size) -> str:
    return f"shape {tuple(shape)}, {value.dtype} on {value.device}"
