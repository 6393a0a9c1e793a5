"""Forward and backward over a chain in logarithms: right for every number, several times slower."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from aleator.ops import logsumexp
from aleator_enum_discrete.engine.chain_shapes import ChainTables

__all__ = ["LogMessages", "differentiable_log_sum", "log_messages"]

DOUBLING_ELEMENTS = 1 << 22
DOUBLING_STEPS = 32  # on a CPU shorter chains are recorded step by step: as many times less work as there are states
PAIRWISE_ELEMENTS = 1 << 22


@final
@dataclass(frozen=True, slots=True)
class LogMessages:
    """The logarithms that a forward pass leaves behind; the backward pass is made when it is asked for.

    Attributes:
        total: the logarithm of the sum over all sequences of states, ``(N,)``.
        forward: ``(T, N, K)``.
        tables: what they were computed from, detached.
    """

    total: Tensor
    forward: Tensor
    tables: ChainTables

    def backward(self) -> Tensor:
        """Return the logarithms of the backward messages, ``(T, N, K)``; minus infinity at steps that do not exist."""
        tables = self.tables
        rows = [torch.zeros_like(tables.observation[0])]
        transitions = tables.transitions()
        for step in range(tables.num_steps - 1, 0, -1):
            if tables.length is not None:
                rows[-1] = rows[-1].masked_fill((tables.length <= step + 1).unsqueeze(-1), 0.0)
            arriving = (tables.observation[step] + rows[-1]).unsqueeze(-2)
            rows.append(torch.logsumexp(transitions[step - 1] + arriving, -1))
        if tables.length is not None:
            rows[-1] = rows[-1].masked_fill((tables.length <= 1).unsqueeze(-1), 0.0)
        messages = torch.stack(rows[::-1])
        exists = tables.exists()
        return messages if exists is None else messages.masked_fill(~exists.unsqueeze(-1), -torch.inf)

    def unary(self) -> Tensor:
        """Return the marginals of the states, ``(T, N, K)``."""
        return self._unary(self.backward())

    def pairwise(self) -> Tensor:
        """Return the marginals of neighbouring states, ``(T - 1, N, K, K)``."""
        return self._pairwise(self.backward())

    def gradients(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradient of a weighted total, ``(N,)`` weights, in the transitions and in the observations."""
        backward = self.backward()
        by_observation = self._unary(backward) * weight.unsqueeze(-1)
        weight = weight.unsqueeze(-1).unsqueeze(-1)
        rows, sequences = self.tables.transition.shape[:2]
        if by_observation.numel() * self.tables.num_states <= PAIRWISE_ELEMENTS:
            met = self._pairwise(backward) * weight
            met = met.sum(0, True) if rows == 1 else met
            return (met.sum(1, True) if sequences == 1 else met), by_observation
        arriving = self._arriving(backward)
        steps: list[Tensor] = []
        for step, transition in enumerate(self.tables.transitions()):
            met = (self.forward[step].unsqueeze(-1) + transition + arriving[step + 1].unsqueeze(-2)).exp() * weight
            met = met.sum(0, True) if sequences == 1 else met
            if rows == 1 and steps:
                steps[0] = steps[0] + met
            else:
                steps.append(met)
        return (torch.stack(steps) if steps else torch.zeros_like(self.tables.transition)), by_observation

    def _unary(self, backward: Tensor) -> Tensor:
        return (self.forward + backward - self._finite_total().unsqueeze(-1)).exp()

    def _pairwise(self, backward: Tensor) -> Tensor:
        return (
            self.forward[:-1].unsqueeze(-1) + self.tables.transition + self._arriving(backward)[1:].unsqueeze(-2)
        ).exp()

    def _arriving(self, backward: Tensor) -> Tensor:
        return self.tables.observation + backward - self._finite_total().unsqueeze(-1)

    def _finite_total(self) -> Tensor:
        return self.total.clamp(min=torch.finfo(self.total.dtype).min)


def log_messages(tables: ChainTables) -> LogMessages:
    """Return the forward messages of a chain in logarithms."""
    rows = [tables.observation[0]]
    for step, transition in enumerate(tables.transitions()):
        rows.append(torch.logsumexp(rows[-1].unsqueeze(-1) + transition, -2) + tables.observation[step + 1])
    forward = torch.stack(rows)
    if tables.length is None:
        total = torch.logsumexp(forward[-1], -1)
    else:
        sequences = torch.arange(forward.shape[1], device=forward.device)
        total = torch.logsumexp(forward[tables.length - 1, sequences], -1)
    return LogMessages(total, forward, tables)


def differentiable_log_sum(tables: ChainTables) -> Tensor:
    """Return the logarithm of the sum over all sequences by operations that torch differentiates and records.

    By doubling over time where its tables are small, so that what is recorded grows with the logarithm of the length.
    """
    steps, sequences, states = tables.observation.shape
    fewest = DOUBLING_STEPS if tables.observation.device.type == "cpu" else 2
    if steps > fewest and tables.length is None and steps * sequences * states**3 <= DOUBLING_ELEMENTS:
        return _doubled(tables)
    row = tables.observation[0]
    for step, transition in enumerate(tables.transitions(), 1):
        following = logsumexp(row.unsqueeze(-1) + transition, -2) + tables.observation[step]
        row = following if tables.length is None else torch.where((tables.length > step).unsqueeze(-1), following, row)
    return logsumexp(row, -1)


def _doubled(tables: ChainTables) -> Tensor:
    matrices = tables.transition + tables.observation[1:].unsqueeze(-2)
    while matrices.shape[0] > 1:
        pairs = matrices.shape[0] // 2
        first, second = matrices[0 : 2 * pairs : 2], matrices[1 : 2 * pairs : 2]
        joined = logsumexp(first.unsqueeze(-1) + second.unsqueeze(-3), -2)
        matrices = joined if 2 * pairs == matrices.shape[0] else torch.cat([joined, matrices[-1:]])
    return logsumexp(tables.observation[0].unsqueeze(-1) + matrices[0], (-2, -1))
