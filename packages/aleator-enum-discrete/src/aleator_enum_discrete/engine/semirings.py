"""What "multiply" and "sum" mean: a record of functions for each semiring that tables are contracted in.

| semiring | a table holds | product | sum |
|---|---|---|---|
| ``LOG`` | logarithms | addition | log-sum-exp |
| ``LINEAR`` | finite numbers, zeros among them | multiplication | addition |
| ``MAX_PLUS`` | logarithms | addition | maximum, the first where there are several |
| ``SAMPLING`` | logarithms | addition | log-sum-exp, then a draw by the terms of the sum |

Minus infinity in the logarithmic ones and zero in the linear one have no NaN in value, gradient or second derivative.
Plus infinity and NaN are nobody's weight: what they give is not defined.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TypeAlias, final

import torch
from torch import Tensor

from aleator.ops import logsumexp
from aleator.randomness import exponential
from aleator_enum_discrete.engine.chain_draws import draw_given
from aleator_enum_discrete.engine.chain_maximum import chain_maximum
from aleator_enum_discrete.engine.chain_shapes import ChainTables
from aleator_enum_discrete.engine.chains import chain_log_sum, chain_messages
from aleator_enum_discrete.engine.matrix_log_sum import matrix_log_sum

__all__ = ["LINEAR", "LOG", "MAX_PLUS", "SAMPLING", "ChooseSequences", "Semiring"]


ChooseSequences: TypeAlias = Callable[[int | None], Tensor]


@final
@dataclass(frozen=True, slots=True)
class Semiring:
    """The numerics of a contraction.

    Attributes:
        name: how it is called.
        one: the number that changes no product.
        multiply: the product of two tables that broadcast.
        sum: the sum of a table over its last dims, as many as the second argument says, at least one.
        multiply_matrices: the sum over the middle dim of ``(batch, rows, summed)`` times ``(batch, summed, columns)``.
        product: the product of a table over dims, to a power.
        chain: the sum over all sequences of a chain, given transitions and observations as :func:`chain_log_sum` takes
            them; ``None`` where chains go pair by pair.
        choose: an index along the last dim for each row of scores; ``None`` where sums choose no term.
        open_chain: the sum as ``chain`` gives it, and a function that chooses sequences of states by its terms: one,
            ``(T, *batch)``, or as many as its argument says, with a dim in front.
    """

    name: str
    one: float
    multiply: Callable[[Tensor, Tensor], Tensor]
    sum: Callable[[Tensor, int], Tensor]
    multiply_matrices: Callable[[Tensor, Tensor], Tensor]
    product: Callable[[Tensor, tuple[int, ...], int], Tensor]
    chain: Callable[[Tensor, Tensor], Tensor] | None = None
    choose: Callable[[Tensor], Tensor] | None = None
    open_chain: Callable[[Tensor, Tensor], tuple[Tensor, ChooseSequences]] | None = None

    def multiply_all(self, tensors: Sequence[Tensor]) -> Tensor:
        """Return the product of tables that broadcast, at least one."""
        result = tensors[0]
        for tensor in tensors[1:]:
            result = self.multiply(result, tensor)
        return result


def _last(count: int) -> tuple[int, ...]:
    return tuple(range(-count, 0))


def _log_sum(tensor: Tensor, count: int) -> Tensor:
    return logsumexp(tensor, _last(count))


def _add_over(tensor: Tensor, dims: tuple[int, ...], repeats: int) -> Tensor:
    if dims:
        tensor = tensor.sum(dims)
    return tensor if repeats == 1 else tensor * repeats


def _sum(tensor: Tensor, count: int) -> Tensor:
    return tensor.sum(_last(count))


def _multiply_over(tensor: Tensor, dims: tuple[int, ...], repeats: int) -> Tensor:
    for dim in sorted(dims, reverse=True):
        tensor = tensor.prod(dim)
    return tensor if repeats == 1 else tensor**repeats


def _maximum(tensor: Tensor, count: int) -> Tensor:
    return tensor.flatten(-count).max(-1).values


def _maximum_of_matrices(left: Tensor, right: Tensor) -> Tensor:
    return (left.unsqueeze(2) + right.transpose(1, 2).unsqueeze(1)).max(-1).values


def _maximum_of_chain(transition: Tensor, observation: Tensor) -> Tensor:
    return chain_maximum(transition, observation)[0]


def _first_largest(scores: Tensor) -> Tensor:
    return scores.argmax(-1)


def _open_maximum(transition: Tensor, observation: Tensor) -> tuple[Tensor, ChooseSequences]:
    value, states = chain_maximum(transition, observation)
    return value, partial(_repeat, states)


def _repeat(states: Tensor, num_samples: int | None) -> Tensor:
    return states if num_samples is None else states.expand(num_samples, *states.shape)


def _draw(scores: Tensor) -> Tensor:
    # The smallest of exponentials with given rates belongs to each with the probability of its rate.
    return (scores - exponential(scores.shape, like=scores).log()).argmax(-1)


def _open_draws(transition: Tensor, observation: Tensor) -> tuple[Tensor, ChooseSequences]:
    tables = ChainTables.of(transition, observation)
    messages = chain_messages(tables, False)
    return tables.restore(messages.total, 0), partial(draw_given, tables, messages)


LOG = Semiring("log", 0.0, torch.add, _log_sum, matrix_log_sum, _add_over, chain_log_sum)
LINEAR = Semiring("linear", 1.0, torch.mul, _sum, torch.bmm, _multiply_over)
MAX_PLUS = Semiring(
    "max-plus",
    0.0,
    torch.add,
    _maximum,
    _maximum_of_matrices,
    _add_over,
    _maximum_of_chain,
    choose=_first_largest,
    open_chain=_open_maximum,
)
SAMPLING = replace(LOG, name="sampling", choose=_draw, open_chain=_open_draws)
