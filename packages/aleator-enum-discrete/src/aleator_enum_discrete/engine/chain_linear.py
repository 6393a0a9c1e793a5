"""Forward and backward over a chain in rescaled probabilities: fast, and it knows when it is not exact."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor

from aleator_enum_discrete.engine.chain_shapes import ChainTables

__all__ = ["LinearMessages", "linear_messages"]

RESCALE_EVERY = 8


@final
@dataclass(frozen=True, slots=True)
class LinearMessages:
    """What forward and backward leave behind.

    Attributes:
        total: the logarithm of the sum over all sequences of states, ``(N,)``.
        forward: ``(T, N, K)``, rescaled.
        backward: ``(T, N, K)``, so scaled that its product with ``forward`` sums to 1; ``None`` where not asked for.
        arriving: ``(T, N, K)``, ``backward`` times the observation's probability over the step's scale.
        transition: probabilities ``(T - 1 or 1, N or 1, K, K)``, rescaled.
    """

    total: Tensor
    forward: Tensor
    backward: Tensor | None
    arriving: Tensor | None
    transition: Tensor

    def unary(self) -> Tensor:
        """Return the marginals of the states, ``(T, N, K)``."""
        assert self.backward is not None
        return self.forward * self.backward

    def pairwise(self) -> Tensor:
        """Return the marginals of neighbouring states, ``(T - 1, N, K, K)``."""
        assert self.arriving is not None
        return self.forward[:-1].unsqueeze(-1) * self.arriving[1:].unsqueeze(-2) * self.transition

    def gradients(self, weight: Tensor) -> tuple[Tensor, Tensor]:
        """Return the gradient of a weighted total, ``(N,)`` weights, in the transitions and in the observations."""
        weight = weight.unsqueeze(-1)
        return self._transition_gradient(weight), self.unary() * weight

    def _transition_gradient(self, weight: Tensor) -> Tensor:
        assert self.arriving is not None
        leaving, arriving = self.forward[:-1] * weight, self.arriving[1:]
        rows, sequences, states, _ = self.transition.shape
        homogeneous, shared = rows == 1, sequences == 1
        if shared and homogeneous:
            met = (leaving.reshape(-1, states).T @ arriving.reshape(-1, states)).reshape(1, 1, states, states)
        elif shared:
            met = torch.bmm(leaving.transpose(1, 2), arriving).unsqueeze(1)
        elif homogeneous:
            met = torch.bmm(leaving.permute(1, 2, 0), arriving.transpose(0, 1)).unsqueeze(0)
        else:
            met = leaving.unsqueeze(-1) * arriving.unsqueeze(-2)
        return self.transition * met


def linear_messages(tables: ChainTables, with_backward: bool) -> LinearMessages | None:
    """Return the messages of a chain, or ``None`` where probabilities lose something that counts.

    What a table or a message loses is below the smallest normal number, at a scale where the largest is about 1. It is
    multiplied by at most the largest backward message, so that one bounds what is missing in the end. Where no backward
    message is asked for, a forward message that nowhere comes near the smallest normal number answers first.
    """
    transition, transition_scale = _scaled(tables.transition, (-2, -1))
    observation, observation_scale = _scaled(tables.observation, (-1,))
    forward, scales = _forward(transition, observation)
    exists = tables.exists()
    logs = _log_scales(tables, scales, transition_scale, observation_scale, exists)
    steps = torch.arange(tables.observation.shape[1], device=forward.device)
    if exists is None or tables.length is None:
        total, final = logs, None
    else:
        final = forward[tables.length - 1, steps].sum(-1, keepdim=True)
        total = logs + final.squeeze(-1).log()
    limits = torch.finfo(forward.dtype)
    if not with_backward and forward.amin().item() >= limits.tiny / limits.eps**2:
        return LinearMessages(total, forward, None, None, transition)
    backward, arriving = _backward(transition, observation, scales, tables.length, final)
    bound = limits.eps / (limits.tiny * tables.num_steps * tables.num_states)
    # One read: a NaN or an infinity anywhere makes the comparison false.
    if not (backward.amax() + 0.0 * total.sum()).item() <= bound:
        return None
    if exists is not None:
        absent = ~exists.unsqueeze(-1)
        backward, arriving = backward.masked_fill(absent, 0.0), arriving.masked_fill(absent, 0.0)
        # Beyond the end even the forward messages may be NaN: nothing says that a transition is possible there.
        forward = forward.masked_fill(absent, 0.0)
    return LinearMessages(total, forward, backward, arriving, transition)


def _scaled(logarithms: Tensor, dims: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    if logarithms.numel() == 0:
        return logarithms.exp(), logarithms.new_zeros(logarithms.shape[:-1])
    scale = logarithms.amax(dims, keepdim=True).clamp(min=torch.finfo(logarithms.dtype).min)
    return (logarithms - scale).exp(), scale.flatten(-len(dims)).squeeze(-1)


def _forward(transition: Tensor, observation: Tensor) -> tuple[Tensor, dict[int, Tensor]]:
    """Return the forward messages, and the sums that they were divided by at some of the steps."""
    messages = torch.empty_like(observation, memory_format=torch.contiguous_format)
    shared = transition.shape[1] == 1
    into = transition.squeeze(1).unbind(0) if shared else transition.unbind(0)
    rows, seen = messages.unbind(0), observation.unbind(0)
    wide = rows if shared else messages.unsqueeze(2).unbind(0)
    multiply = torch.mm if shared else torch.bmm
    last = len(rows) - 1
    scales: dict[int, Tensor] = {}
    rows[0].copy_(seen[0])
    for step, row in enumerate(rows):
        if step > 0:
            multiply(wide[step - 1], into[step - 1 if len(into) > 1 else 0], out=wide[step])
            row.mul_(seen[step])
        if step == last or step % RESCALE_EVERY == 0:
            scales[step] = row.sum(-1, keepdim=True)
            row.div_(scales[step])
    return messages, scales


def _backward(
    transition: Tensor, observation: Tensor, scales: dict[int, Tensor], length: Tensor | None, final: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Return the backward messages, and those that arrive through the observation of their step."""
    messages, arriving = torch.empty_like(observation), torch.empty_like(observation)
    shared = transition.shape[1] == 1
    turned = transition.transpose(-1, -2)
    into = turned.squeeze(1).unbind(0) if shared else turned.unbind(0)
    rows, seen, met = messages.unbind(0), observation.unbind(0), arriving.unbind(0)
    wide_rows = rows if shared else messages.unsqueeze(2).unbind(0)
    wide_met = met if shared else arriving.unsqueeze(2).unbind(0)
    multiply = torch.mm if shared else torch.bmm
    rows[-1].fill_(1.0)
    for step in range(len(rows) - 1, -1, -1):
        if length is not None and final is not None:
            torch.where((length <= step + 1).unsqueeze(-1), final.reciprocal(), rows[step], out=rows[step])
        torch.mul(seen[step], rows[step], out=met[step])
        if step in scales:
            met[step].div_(scales[step])
        if step > 0:
            multiply(wide_met[step], into[step - 1 if len(into) > 1 else 0], out=wide_rows[step - 1])
    return messages, arriving


def _log_scales(
    tables: ChainTables,
    scales: dict[int, Tensor],
    transition_scale: Tensor,
    observation_scale: Tensor,
    exists: Tensor | None,
) -> Tensor:
    """Return the sum of everything that was divided out, for each sequence."""
    steps = tables.num_steps
    taken = torch.cat([scale.T for scale in scales.values()]).log()
    if exists is None:
        between = transition_scale.sum(0) * (steps - 1 if transition_scale.shape[0] == 1 else 1)
        return taken.sum(0) + observation_scale.sum(0) + (between if steps > 1 else 0.0)
    taken = taken.masked_fill(~exists[list(scales)], 0.0).sum(0)
    seen = observation_scale.masked_fill(~exists, 0.0).sum(0)
    if steps == 1:
        return taken + seen
    return taken + seen + transition_scale.expand(steps - 1, -1).masked_fill(~exists[1:], 0.0).sum(0)
