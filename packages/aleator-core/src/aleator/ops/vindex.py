"""Indexing that broadcasts its indices, so that enumerated and batched indices work in one expression."""

from __future__ import annotations

from types import EllipsisType
from typing import Any, TypeAlias, final

import torch
from torch import Tensor

__all__ = ["Index", "Vindex", "vindex"]

Index: TypeAlias = int | slice | Tensor | EllipsisType


def vindex(tensor: Tensor, args: Index | tuple[Index, ...]) -> Tensor:
    """Index a tensor so that index tensors broadcast with one another, wherever slices stand between them.

    - Integers and index tensors broadcast to one shape; it comes first in the result.
    - A leading ellipsis stands for batch dims of ``tensor``: they broadcast with the index tensors, aligned on the
      right.
    - Slices keep their dims; these come last in the result, in their order. Dims behind the last index are kept too,
      and so are those of an ellipsis that is not first.

    Without index tensors this is torch's own indexing. With them it is what a model means that looks up a table by
    enumerated values: ``vindex(table, (..., i, slice(None), j))`` has shape ``broadcast(batch, i.shape, j.shape)`` and
    behind it the dim that was sliced, whatever dims enumeration has added to ``i`` and ``j``.

    Raises:
        IndexError: for too many indices, two ellipses, or an index out of its range.
        TypeError: for an index of another kind: ``None``, a mask, a list, a tensor of floats.

    Example:
        >>> import torch
        >>> from aleator.ops import vindex
        >>> table = torch.arange(24).reshape(2, 3, 4)
        >>> i, j = torch.tensor([0, 1]), torch.tensor([[0], [3]])
        >>> vindex(table, (i, slice(None), j)).shape
        torch.Size([2, 2, 3])
    """
    given = args if isinstance(args, tuple) else (args,)
    for arg in given:
        _check_kind(arg)
    if not any(isinstance(arg, Tensor) and arg.dim() > 0 for arg in given):
        return tensor[given]
    batch_dims, indices = _one_index_per_dim(tensor, given)
    kept = [isinstance(index, slice) for index in indices]
    last_index = len(kept) - kept[::-1].index(False)
    if batch_dims == 0 and not any(kept[:last_index]):
        return tensor[tuple(indices)]
    tensor = tensor[tuple(index if isinstance(index, slice) else slice(None) for index in indices)]
    event_dims = sum(kept[batch_dims:])
    aligned: list[int | Tensor] = []
    right = event_dims
    for dim, index in enumerate(indices):
        if isinstance(index, slice):
            if dim >= batch_dims:
                right -= 1
            place = batch_dims - 1 - dim + event_dims if dim < batch_dims else right
            counted = torch.arange(tensor.shape[dim], device=tensor.device)
            aligned.append(counted.reshape((-1,) + (1,) * place))
        else:
            shift = isinstance(index, Tensor) and event_dims > 0
            aligned.append(index.reshape(index.shape + (1,) * event_dims) if shift else index)  # type: ignore[union-attr]  # a tensor, as shift says
    return tensor[tuple(aligned)]


@final
class Vindex:
    """A tensor whose square brackets index as :func:`vindex` does.

    Example:
        >>> import torch
        >>> from aleator.ops import Vindex
        >>> transition = torch.rand(5, 3, 3)
        >>> previous, current = torch.arange(3).reshape(3, 1, 1), torch.arange(3).reshape(3, 1, 1, 1)
        >>> Vindex(transition)[..., previous, current].shape
        torch.Size([3, 3, 1, 5])
    """

    __slots__ = ("_tensor",)

    def __init__(self, tensor: Tensor) -> None:
        self._tensor = tensor

    def __getitem__(self, args: Index | tuple[Index, ...]) -> Tensor:
        return vindex(self._tensor, args)

    def __repr__(self) -> str:
        return f"Vindex({self._tensor!r})"


def _check_kind(arg: Any) -> None:  # noqa: ANN401  # whatever a user wrote between the brackets
    if arg is Ellipsis or isinstance(arg, slice) or (isinstance(arg, int) and not isinstance(arg, bool)):
        return
    if isinstance(arg, Tensor):
        if arg.dtype != torch.bool and not arg.is_floating_point() and not arg.is_complex():
            return
        found = f"a tensor of dtype {arg.dtype}"
    else:
        found = repr(arg)
    raise TypeError(
        f"Vindex takes integers, slices, tensors of integers and one ellipsis, found {found}; "
        f"index with the tensor itself for what only torch's indexing does"
    )


def _one_index_per_dim(tensor: Tensor, args: tuple[Index, ...]) -> tuple[int, list[int | slice | Tensor]]:
    """Return how many leading dims a leading ellipsis stands for, and an index for every dim."""
    ellipses = [position for position, arg in enumerate(args) if arg is Ellipsis]
    missing = tensor.dim() - len(args) + len(ellipses)
    if len(ellipses) > 1 or missing < 0:
        raise IndexError(
            f"Vindex of a tensor of shape {tuple(tensor.shape)} takes at most {tensor.dim()} indices and one ellipsis, "
            f"found {len(args) - len(ellipses)} and {len(ellipses)}"
        )
    place = ellipses[0] if ellipses else len(args)
    filled: list[int | slice | Tensor] = []
    for arg in (*args[:place], *[slice(None)] * missing, *args[place + 1 :]):
        assert not isinstance(arg, EllipsisType)
        filled.append(arg)
    return (missing if place == 0 else 0), filled
