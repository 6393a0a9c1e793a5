"""Many small laws of one family as one law, with a batch dim more: scored in a few operations, not in a few each."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from aleator.distributions.bernoulli import Bernoulli
from aleator.distributions.categorical import Categorical
from aleator.distributions.cauchy import Cauchy
from aleator.distributions.counts import Poisson
from aleator.distributions.gamma import Exponential, Gamma
from aleator.distributions.independent import Independent
from aleator.distributions.laplace import Laplace
from aleator.distributions.normal import LogNormal, Normal
from aleator.distributions.student_t import StudentT

__all__ = ["stack", "stack_tensors", "stacking_kind"]

# How many rightmost dims of each argument do not belong to the batch, by family.
_EVENT_DIMS: Mapping[type, Mapping[str, int]] = {
    Bernoulli: {"probs": 0, "logits": 0},
    Categorical: {"probs": 1, "logits": 1},
    **{
        family: dict.fromkeys(family.argument_names, 0)
        for family in (Cauchy, Exponential, Gamma, Laplace, LogNormal, Normal, Poisson, StudentT)
    },
}
_PLAIN = (Tensor, torch.nn.Parameter)


def stacking_kind(law: Any) -> Hashable | None:  # noqa: ANN401  # any distribution, a stranger's too
    """Return what laws must have in common to be stacked; ``None`` for a law that cannot be.

    Example:
        >>> import aleator.distributions as dist
        >>> ones, twos = dist.Normal(torch.ones(3), 1.0), dist.Normal(torch.full((3,), 2.0), 1.0)
        >>> stacking_kind(ones) == stacking_kind(twos), stacking_kind(ones) == stacking_kind(dist.Normal(0.0, 1.0))
        (True, False)
    """
    family = type(law)
    if family is Independent:
        inner = stacking_kind(law.base_dist)
        return None if inner is None else (law.reinterpreted_batch_ndims, law._batch_shape, inner)
    names = _EVENT_DIMS.get(family)
    if names is None:
        return None
    kind: list[Any] = [family, law._batch_shape]
    state = law.__dict__
    given = state.get("_given")
    for name in names if given is None else (given,):
        value = state["_" + name]
        if value.__class__ in _PLAIN:
            kind += (name, value.shape, value.dtype, value.device)
        elif value.__class__ is float:
            kind += (name, value)
        else:
            return None
    return tuple(kind)


def stack(laws: Sequence[Any], batch_dim: int | None = None) -> Any:  # noqa: ANN401  # a law of the same family
    """Return one law whose leftmost batch dim runs over laws of one :func:`stacking_kind`.

    Args:
        laws: at least one.
        batch_dim: how many batch dims the result has beside the new one; by default as many as the laws have.

    Example:
        >>> import aleator.distributions as dist
        >>> dist.Normal(0.0, 1.0).batch_shape, stack([dist.Normal(torch.zeros(2), 1.0)] * 3).batch_shape
        (torch.Size([]), torch.Size([3, 2]))
    """
    first = laws[0]
    shape = first._batch_shape
    wanted = len(shape) if batch_dim is None else batch_dim
    padded = (*(1,) * (wanted - len(shape)), *shape)
    if type(first) is Independent:
        count = first.reinterpreted_batch_ndims
        return Independent(stack([law.base_dist for law in laws], wanted + count), count)
    names = _EVENT_DIMS[type(first)]
    given = first.__dict__.get("_given")
    arguments = {
        name: _stacked_argument([law.__dict__["_" + name] for law in laws], wanted + event_dim)
        for name, event_dim in names.items()
        if given is None or name == given
    }
    made = type(first)(**arguments, validate_args=False)
    return made.expand((len(laws), *padded))


def stack_tensors(tensors: Sequence[Tensor], dim: int) -> Tensor:
    """Return tensors of one shape along a new leftmost dim, with so many dims beside it; one that all share stays.

    Example:
        >>> stack_tensors([torch.zeros(3), torch.ones(3)], 2).shape
        torch.Size([2, 1, 3])
        >>> shared = torch.zeros(3)
        >>> stack_tensors([shared, shared], 2) is shared
        True
    """
    first = tensors[0]
    if all(tensor is first for tensor in tensors):
        return first
    joined = torch.stack(tuple(tensors))
    missing = dim + 1 - joined.dim()
    return joined.reshape(len(tensors), *(1,) * missing, *first.shape) if missing else joined


def _stacked_argument(values: Sequence[Any], dim: int) -> Any:  # noqa: ANN401  # a tensor, or the number of all laws
    return stack_tensors(values, dim) if isinstance(values[0], Tensor) else values[0]
