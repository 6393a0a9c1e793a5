"""A chain by doubling over time: few large products of matrices in place of many small ones."""

from __future__ import annotations

import torch
from torch import Tensor

from aleator_enum_discrete.engine.chain_shapes import ChainTables

__all__ = ["doubled_log_sum", "doubling_pays"]


def doubling_pays(tables: ChainTables) -> bool:
    """Whether products of matrices for all pairs of steps are faster than one product of a vector after the other."""
    steps, sequences, states = tables.observation.shape
    if tables.length is not None or steps < 64:
        return False
    if tables.observation.device.type != "cpu":
        return steps * sequences * states**3 <= 1 << 26
    # Measured: on one core many small matrices cost more than few steps on long vectors.
    return sequences * states**2 <= 256 and steps * sequences * states**3 <= 1 << 20


def doubled_log_sum(tables: ChainTables) -> Tensor | None:
    """Return the logarithm of the sum over all sequences, or ``None`` where probabilities might lose what counts.

    Torch's own derivatives hold. Every element of every product must be far above the smallest normal number, which
    hard zeros among the transitions are not: then a chain goes step by step.
    """
    observation, seen = _scaled(tables.observation, (-1,))
    transition, moved = _scaled(tables.transition, (-2, -1))
    matrices = transition * observation[1:].unsqueeze(-2)
    repeated = tables.num_steps - 1 if moved.shape[0] == 1 else 1
    logarithm = seen.sum(0) + moved.sum(0) * repeated
    lowest = [matrices.detach().amin(), observation.detach()[0].amin()]
    while matrices.shape[0] > 1:
        pairs = matrices.shape[0] // 2
        joined = torch.matmul(matrices[0 : 2 * pairs : 2], matrices[1 : 2 * pairs : 2])
        scale = joined.detach().amax((-2, -1), keepdim=True)
        joined = joined / scale
        logarithm = logarithm + scale.log().sum(0).flatten()
        lowest.append(joined.detach().amin())
        matrices = joined if 2 * pairs == matrices.shape[0] else torch.cat([joined, matrices[-1:]])
    limits = torch.finfo(matrices.dtype)
    if not torch.stack(lowest).amin().item() >= limits.tiny / limits.eps**2:
        return None
    last = torch.bmm(observation[0].unsqueeze(1), matrices[0].expand(observation.shape[1], -1, -1))
    return logarithm + last.sum((1, 2)).log()


def _scaled(logarithms: Tensor, dims: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    scale = logarithms.detach().amax(dims, keepdim=True).clamp(min=torch.finfo(logarithms.dtype).min)
    return (logarithms - scale).exp(), scale.flatten(-len(dims)).squeeze(-1)
