"""The most probable sequence of states of a chain (Viterbi 1967)."""

from __future__ import annotations

import torch
from torch import Tensor

from aleator_enum_discrete.engine.chain_origins import find_origins, follow_origins
from aleator_enum_discrete.engine.chain_shapes import ChainTables

__all__ = ["chain_maximum"]

LARGE_STEP = 1 << 10


def chain_maximum(
    transition: Tensor, observation: Tensor, initial: Tensor | None = None, length: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the largest logarithm over all sequences of states, and the sequence ``(T, *batch)`` that has it.

    The arguments are those of :func:`chain_log_sum`. Among equal ones the last state is the first possible one, then
    the state before it, and so on. Steps that do not exist have state 0. The gradient of the value is that of the
    sequence's own terms.

    Example:
        >>> import torch
        >>> chain_maximum(torch.zeros(1, 2, 2), torch.tensor([[0.0, 1.0], [3.0, 0.0]]))
        (tensor(4.), tensor([1, 0]))
    """
    tables = ChainTables.of(transition, observation, initial, length)
    with torch.no_grad():
        states = _best_states(tables)
    exists = tables.exists()
    seen = tables.observation.gather(-1, states.unsqueeze(-1)).squeeze(-1)
    value = seen.sum(0)
    if tables.num_steps > 1:
        moved = _moves(tables.transition, states)
        value = value + (moved if exists is None else torch.where(exists[1:], moved, torch.zeros_like(moved))).sum(0)
    if exists is not None:
        states = states.masked_fill(~exists, 0)
    return tables.restore(value, 0), tables.restore(states, 1)


def _best_states(tables: ChainTables) -> Tensor:
    _, sequences, states = tables.observation.shape
    if sequences * states**2 > LARGE_STEP:
        return find_origins(tables, _best_scores(tables)).squeeze(1)
    seen = tables.observation.unsqueeze(-2)
    best = seen[0]
    origins = []
    everyone = torch.arange(states, device=best.device)
    # The best logarithms are a row and a column in turn, so that a step is one addition and one maximum.
    turned = False
    for step, table in enumerate((tables.transition + seen[1:]).unbind(0), 1):
        values, origin = (best + table).max(-2, True) if turned else (best + table.transpose(-1, -2)).max(-1, True)
        origin = origin.squeeze(-2 if turned else -1)
        if tables.length is not None:
            exists = (tables.length > step).unsqueeze(-1)
            values = torch.where(exists.unsqueeze(-1), values, best.transpose(-1, -2))
            origin = torch.where(exists, origin, everyone)
        best, turned = values, not turned
        origins.append(origin)
    return follow_origins(origins, best.flatten(-2).argmax(-1))


def _best_scores(tables: ChainTables) -> Tensor:
    """Return the best logarithm that ends in each state, ``(T, 1, N, K)``: a maximum without its place is cheaper."""
    rows = [tables.observation[0]]
    seen = tables.observation.unbind(0)
    for step, transition in enumerate(tables.transitions(), 1):
        rows.append((rows[-1].unsqueeze(-1) + transition).amax(-2) + seen[step])
    return torch.stack(rows).unsqueeze(1)


def _moves(transition: Tensor, states: Tensor) -> Tensor:
    """Return the logarithm of each step's transition, ``(T - 1, N)``."""
    times = torch.arange(states.shape[0] - 1, device=states.device).unsqueeze(-1)
    sequences = torch.arange(states.shape[1], device=states.device)
    rows = times if transition.shape[0] > 1 else torch.zeros_like(times)
    columns = sequences if transition.shape[1] > 1 else torch.zeros_like(sequences)
    return transition[rows, columns, states[:-1], states[1:]]
