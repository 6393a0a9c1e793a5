"""Sequences of states drawn from their joint posterior: filter forward, sample backward."""

from __future__ import annotations

import torch
from torch import Tensor

from aleator.randomness import exponential
from aleator_enum_discrete.chain_linear import LinearMessages
from aleator_enum_discrete.chain_shapes import ChainTables
from aleator_enum_discrete.chains import chain_messages

__all__ = ["draw_chain"]


def draw_chain(
    transition: Tensor,
    observation: Tensor,
    initial: Tensor | None = None,
    length: Tensor | None = None,
    num_samples: int | None = None,
) -> Tensor:
    """Return exact draws of all states together: ``(T, *batch)``, or ``(num_samples, T, *batch)``.

    The other arguments are those of :func:`chain_log_sum`. The last state is drawn from its filtered distribution, each
    one before it given the one after it (Scott 2002). Steps that do not exist have state 0.

    Example:
        >>> import torch
        >>> last = torch.tensor([-torch.inf, 0.0, -torch.inf])
        >>> draw_chain(torch.eye(3).log().unsqueeze(0), torch.stack([torch.zeros(3), torch.zeros(3), last]))
        tensor([1, 1, 1])
    """
    with torch.no_grad():
        tables = ChainTables.of(transition, observation, initial, length)
        count = 1 if num_samples is None else num_samples
        messages = chain_messages(tables, False)
        forward = messages.forward.log() if isinstance(messages, LinearMessages) else messages.forward
        states = _backward(tables, forward, count)
        exists = tables.exists()
        if exists is not None:
            states = states.masked_fill(~exists, 0)
        drawn = tables.restore(states, 2)
        return drawn[0] if num_samples is None else drawn


def _backward(tables: ChainTables, forward: Tensor, count: int) -> Tensor:
    """Draw ``(count, T, N)`` states from the last step to the first."""
    steps, sequences, states = forward.shape
    # The smallest of exponentials with given rates belongs to each with the probability of its rate.
    noise = exponential((steps, count, sequences, states), like=forward).log()
    scores = forward.unsqueeze(1) - noise
    arriving = tables.transition.transpose(-1, -2)
    everyone = torch.arange(sequences if arriving.shape[1] > 1 else 1, device=forward.device)
    drawn = [scores[-1].argmax(-1)]
    for step in range(steps - 2, -1, -1):
        table = arriving[step if arriving.shape[0] > 1 else 0]
        moved = table[everyone, drawn[-1]]
        if tables.length is not None:
            moved = moved.masked_fill((tables.length <= step + 1).unsqueeze(-1), 0.0)
        drawn.append((scores[step] + moved).argmax(-1))
    return torch.stack(drawn[::-1], 1)
