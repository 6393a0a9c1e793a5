"""Go back along a chain: from the last state to the one it comes from, step by step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from aleator_enum_discrete.engine.chain_shapes import ChainTables

__all__ = ["TOGETHER_ELEMENTS", "find_origins", "follow_origins"]

TOGETHER_ELEMENTS = 1 << 15  # with fewer, one operation on all steps or states is cheaper than one on each


def find_origins(tables: ChainTables, scores: Tensor) -> Tensor:
    """Return ``(T, count, N)`` states, each the best given the next one: by its score plus the transition to that.

    Args:
        tables: the chain.
        scores: ``(T, count, N, K)``, for each state what speaks for it up to its step.
    """
    last = scores[-1].argmax(-1)
    if scores.shape[0] == 1:
        return last.unsqueeze(0)
    if scores.numel() * scores.shape[-1] > TOGETHER_ELEMENTS:
        return _step_by_step(tables, scores, last)
    # For every state of the next step at once, though only one of them is used.
    moved = tables.transition.unsqueeze(1)
    exists = tables.exists()
    if exists is not None:
        moved = moved.masked_fill(~exists[1:, None, :, None, None], 0.0)
    origins = (scores[:-1].unsqueeze(-1) + moved).argmax(-2)
    return follow_origins(origins.unbind(0), last)


def follow_origins(origins: Sequence[Tensor], last: Tensor) -> Tensor:
    """Return the states ``(T, *rest)`` that end at ``last``, given where each of them ``(*rest, K)`` comes from."""
    states = [last.unsqueeze(-1)]
    for origin in reversed(origins):
        states.append(origin.gather(-1, states[-1]))
    return torch.stack(states[::-1]).squeeze(-1)


def _step_by_step(tables: ChainTables, scores: Tensor, last: Tensor) -> Tensor:
    arriving = tables.transition.transpose(-1, -2).contiguous()
    shared = arriving.shape[1] == 1
    into = arriving.squeeze(1).unbind(0) if shared else arriving.unbind(0)
    everyone = torch.arange(scores.shape[2], device=scores.device)
    states = [last]
    rows = scores.unbind(0)
    for step in range(len(rows) - 2, -1, -1):
        table = into[step if len(into) > 1 else 0]
        if shared:
            moved = table.index_select(0, states[-1].flatten()).view(rows[step].shape)
        else:
            moved = table[everyone, states[-1]]
        if tables.length is not None:
            moved = moved.masked_fill((tables.length <= step + 1).unsqueeze(-1), 0.0)
        states.append((rows[step] + moved).argmax(-1))
    return torch.stack(states[::-1])
