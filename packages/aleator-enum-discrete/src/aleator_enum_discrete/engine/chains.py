"""Sums over all sequences of states of a chain: value, gradient and marginals, forward and backward in one go."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor

from aleator.capture import values_are_readable
from aleator_enum_discrete.engine.chain_doubling import doubled_log_sum, doubling_pays
from aleator_enum_discrete.engine.chain_linear import LinearMessages, linear_messages
from aleator_enum_discrete.engine.chain_log import LogMessages, differentiable_log_sum, log_messages
from aleator_enum_discrete.engine.chain_shapes import ChainTables

__all__ = ["ChainMethod", "chain_log_sum", "chain_marginals", "chain_messages"]

ChainMethod: TypeAlias = Literal["auto", "linear", "log", "doubling"]


def chain_log_sum(
    transition: Tensor,
    observation: Tensor,
    initial: Tensor | None = None,
    length: Tensor | None = None,
    method: ChainMethod = "auto",
) -> Tensor:
    """Return the logarithm of the sum over all sequences of states of a chain.

    Everything is given as logarithms, minus infinity among them; batch dims broadcast. The gradient comes from an
    analytic backward pass over time; second derivatives from a slower route by torch's own.

    Args:
        transition: ``(T - 1, *batch, K, K)``, or ``(1, *batch, K, K)`` for one table at all steps; from row to column.
        observation: ``(T, *batch, K)``; zeros where a step has no observation.
        initial: ``(*batch, K)``; nothing is added where it is not given.
        length: ``(*batch)``, integers from 1 to ``T``: how many steps of each sequence exist. What is beyond counts
            neither in value nor in gradient.
        method: ``"auto"`` takes the fastest that loses no accuracy: products of matrices for pairs of steps, rescaled
            probabilities step by step, or logarithms. A method that is asked for by name gives way to the logarithms
            too where it would not be exact.

    Returns:
        A tensor of the batch shape.

    Raises:
        ValueError: for shapes that do not fit one another.

    Example:
        >>> import torch
        >>> stay = torch.tensor([[0.9, 0.1], [0.1, 0.9]]).log()
        >>> chain_log_sum(stay.unsqueeze(0), torch.zeros(5, 2), torch.tensor([0.5, 0.5]).log()).exp()
        tensor(1.0000)
    """
    tables = ChainTables.of(transition, observation, initial, length)
    if not values_are_readable():
        return tables.restore(differentiable_log_sum(tables), 0)
    total = None
    if method == "doubling" or (method == "auto" and doubling_pays(tables)):
        total = doubled_log_sum(tables) if tables.length is None and tables.num_steps > 1 else None
    if total is None:
        inputs = tables.transition.requires_grad or tables.observation.requires_grad
        if inputs and torch.is_grad_enabled():
            total = _ChainLogSum.apply(tables.transition, tables.observation, tables, method)  # type: ignore[no-untyped-call]  # torch's apply
        else:
            total = chain_messages(tables, False, method).total
    return tables.restore(total, 0)


def chain_marginals(
    transition: Tensor, observation: Tensor, initial: Tensor | None = None, length: Tensor | None = None
) -> tuple[Tensor, Tensor]:
    """Return the posterior probabilities of states ``(T, *batch, K)`` and of neighbours ``(T - 1, *batch, K, K)``.

    The arguments are those of :func:`chain_log_sum`. Steps that do not exist have zeros; so has everything where no
    sequence is possible. The results carry no gradient.

    Example:
        >>> import torch
        >>> states, neighbours = chain_marginals(torch.zeros(1, 2, 2), torch.tensor([[0.0, -torch.inf], [0.0, 0.0]]))
        >>> states
        tensor([[1.0000, 0.0000],
                [0.5000, 0.5000]])
    """
    with torch.no_grad():
        tables = ChainTables.of(transition, observation, initial, length)
        messages = chain_messages(tables, True)
        return tables.restore(messages.unary(), 1), tables.restore(messages.pairwise(), 1)


def chain_messages(
    tables: ChainTables, with_backward: bool, method: ChainMethod = "auto"
) -> LinearMessages | LogMessages:
    """Return what both passes leave behind: in probabilities where these are exact, else in logarithms."""
    with torch.no_grad():
        messages = None
        if method != "log" and values_are_readable():
            messages = linear_messages(tables, with_backward)
        return log_messages(tables) if messages is None else messages


class _ChainLogSum(torch.autograd.Function):
    """Forward with both passes; the backward then only weighs the marginals that are there already."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401  # torch's context
        transition: Tensor,
        observation: Tensor,
        tables: ChainTables,
        method: ChainMethod,
    ) -> Tensor:
        detached = ChainTables(transition.detach(), observation.detach(), tables.length, tables.batch)
        ctx.messages = chain_messages(detached, True, method)
        ctx.length, ctx.batch = tables.length, tables.batch
        ctx.save_for_backward(transition, observation)
        return ctx.messages.total  # type: ignore[no-any-return]  # torch's context holds anything

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401  # torch's context
        transition, observation = ctx.saved_tensors
        wanted = ctx.needs_input_grad[:2]
        if torch.is_grad_enabled():
            total = differentiable_log_sum(ChainTables(transition, observation, ctx.length, ctx.batch))
            inputs = [each for each, needs in zip((transition, observation), wanted, strict=True) if needs]
            found = iter(torch.autograd.grad(total, inputs, grad, create_graph=True, materialize_grads=True))
            return (*(next(found) if needs else None for needs in wanted), None, None)
        messages: LinearMessages | LogMessages = ctx.messages
        by_transition, by_observation = messages.gradients(grad)
        return (by_transition if wanted[0] else None), (by_observation if wanted[1] else None), None, None
