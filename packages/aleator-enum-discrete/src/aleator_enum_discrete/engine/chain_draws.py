"""Sequences of states drawn from their joint posterior: filter forward, sample backward."""

from __future__ import annotations

import torch
from torch import Tensor

from aleator.randomness import exponential
from aleator_enum_discrete.engine.chain_linear import LinearMessages
from aleator_enum_discrete.engine.chain_log import LogMessages
from aleator_enum_discrete.engine.chain_origins import find_origins
from aleator_enum_discrete.engine.chain_shapes import ChainTables
from aleator_enum_discrete.engine.chains import chain_messages

__all__ = ["draw_chain", "draw_given"]


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
        return draw_given(tables, chain_messages(tables, False), num_samples)


def draw_given(tables: ChainTables, messages: LinearMessages | LogMessages, num_samples: int | None) -> Tensor:
    """Return draws of all states where the forward messages are there already."""
    with torch.no_grad():
        forward = messages.forward.log() if isinstance(messages, LinearMessages) else messages.forward
        steps, sequences, states = forward.shape
        shape = (steps, 1 if num_samples is None else num_samples, sequences, states)
        # The smallest of exponentials with given rates belongs to each with the probability of its rate.
        drawn = find_origins(tables, forward.unsqueeze(1) - exponential(shape, like=forward).log())
        exists = tables.exists()
        if exists is not None:
            drawn = drawn.masked_fill(~exists.unsqueeze(1), 0)
        drawn = tables.restore(drawn, 2).movedim(1, 0)
        return drawn[0] if num_samples is None else drawn
