"""The tables of a homogeneous chain, checked and brought to one batch dim."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from aleator.distributions.joint_shapes import broadcast_shapes

__all__ = ["ChainTables"]


@final
@dataclass(frozen=True, slots=True)
class ChainTables:
    """Logarithms of a chain of ``T`` variables with ``K`` states, for ``N`` sequences.

    Attributes:
        transition: ``(T - 1 or 1, N or 1, K, K)``, from the row's state to the column's.
        observation: ``(T, N, K)``; the initial logarithms are in its first row, steps that do not exist hold zeros.
        length: ``(N,)``, how many steps of each sequence exist; ``None`` for all.
        batch: the shape that the sequences have for the caller.
    """

    transition: Tensor
    observation: Tensor
    length: Tensor | None
    batch: tuple[int, ...]

    @staticmethod
    def of(
        transition: Tensor, observation: Tensor, initial: Tensor | None = None, length: Tensor | None = None
    ) -> ChainTables:
        """Check and reshape what a caller gives; see :func:`chain_log_sum` for the shapes.

        Raises:
            ValueError: for shapes that do not fit one another.
        """
        steps, states = observation.shape[0], observation.shape[-1]
        shown = f"transition {tuple(transition.shape)}, observation {tuple(observation.shape)}"
        if observation.dim() < 2 or transition.dim() < 3 or steps == 0 or transition.shape[-2:] != (states, states):
            raise ValueError(
                f"a chain has transition (T - 1 or 1, ..., K, K) and observation (T, ..., K), found {shown}"
            )
        if transition.shape[0] not in (1, steps - 1):
            raise ValueError(f"{steps} steps have 1 or {steps - 1} tables of transitions, found {shown}")
        if initial is not None and (initial.dim() == 0 or initial.shape[-1] != states):
            raise ValueError(f"initial logarithms have {states} states last, found {tuple(initial.shape)} with {shown}")
        inner = [transition.shape[1:-2], observation.shape[1:-1]]
        inner += [] if initial is None else [initial.shape[:-1]]
        inner += [] if length is None else [length.shape]
        batch = tuple(broadcast_shapes(*inner))
        observation = _flatten(observation, (steps, *_padded(observation.shape[1:-1], batch), states), batch, 1)
        if initial is not None:
            first = (observation[0] + initial.expand(*batch, states).reshape(-1, states)).unsqueeze(0)
            observation = torch.cat([first, observation[1:]]) if steps > 1 else first
        shared = all(size == 1 for size in transition.shape[1:-2])
        rows = transition.shape[0]
        if shared:
            transition = transition.reshape(rows, 1, states, states)
        else:
            shape = (rows, *_padded(transition.shape[1:-2], batch), states, states)
            transition = _flatten(transition, shape, batch, 2)
        if length is not None:
            length = length.expand(batch).reshape(-1)
            exists = torch.arange(steps, device=observation.device).unsqueeze(-1) < length
            observation = observation.masked_fill(~exists.unsqueeze(-1), 0.0)
        return ChainTables(transition, observation, length, batch)

    @property
    def num_steps(self) -> int:
        """The number of variables."""
        return self.observation.shape[0]

    @property
    def num_states(self) -> int:
        """How many values each has."""
        return self.observation.shape[-1]

    def transitions(self) -> list[Tensor]:
        """Return the table of transitions into each variable but the first."""
        tables = list(self.transition.unbind(0))
        return tables * (self.num_steps - 1) if len(tables) == 1 else tables

    def exists(self) -> Tensor | None:
        """Return which steps of which sequence exist, ``(T, N)``; ``None`` for all."""
        if self.length is None:
            return None
        return torch.arange(self.num_steps, device=self.length.device).unsqueeze(-1) < self.length

    def restore(self, tensor: Tensor, batch_dim: int) -> Tensor:
        """Give a result the caller's batch shape in place of its one batch dim."""
        return tensor.reshape((*tensor.shape[:batch_dim], *self.batch, *tensor.shape[batch_dim + 1 :]))


def _padded(shape: tuple[int, ...], batch: tuple[int, ...]) -> tuple[int, ...]:
    return (1,) * (len(batch) - len(shape)) + tuple(shape)


def _flatten(tensor: Tensor, padded: tuple[int, ...], batch: tuple[int, ...], event_dims: int) -> Tensor:
    event = padded[len(padded) - event_dims :]
    expanded = tensor.reshape(padded).expand(padded[0], *batch, *event)
    return expanded.reshape(padded[0], -1, *event) if batch else expanded.unsqueeze(1)
