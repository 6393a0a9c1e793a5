"""A torch.optim optimizer's own state from a file: looked at before it is taken over."""

from __future__ import annotations

import copy
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from aleator.optim.options import check_rate

__all__ = ["load_torch_state"]


def load_torch_state(optimizer: torch.optim.Optimizer, saved: Mapping[str, Any], params: Sequence[Tensor]) -> None:
    """Bring a ``state_dict`` from a file into a fresh optimizer; its options stay, but for the learning rate.

    Args:
        optimizer: made for ``params``.
        saved: what torch's ``state_dict`` returned, perhaps changed by somebody since.
        params: all its parameters, group by group.

    Raises:
        AttributeError, KeyError, IndexError, TypeError, ValueError, RuntimeError: it does not fit.
    """
    configured = [{key: value for key, value in group.items() if key != "params"} for group in optimizer.param_groups]
    taken = copy.deepcopy(dict(saved))
    kept = taken["state"]
    if not set(kept) <= set(range(len(params))):
        raise ValueError(f"it keeps something for {sorted(map(str, kept))}, of {len(params)} parameters")
    if isinstance(optimizer, torch.optim.LBFGS):
        _check_curvature(kept, params)
    else:
        _check_like_a_first_step(optimizer, kept, params)
    optimizer.load_state_dict(taken)
    for group, options in zip(optimizer.param_groups, configured, strict=True):
        if {*group} - {"params"} != {*options}:
            raise ValueError("the groups have other options")
        if "lr" in options:
            _check_alike("lr", group["lr"], options["lr"])
            check_rate(group["lr"])
        group.update({key: value for key, value in options.items() if key != "lr"})


def _check_like_a_first_step(
    optimizer: torch.optim.Optimizer, kept: Mapping[int, Any], params: Sequence[Tensor]
) -> None:
    """Compare with what a twin keeps after a step on zeros: names, shapes and dtypes."""
    try:
        twin = copy.deepcopy(optimizer)
        leaves = [leaf for group in twin.param_groups for leaf in group["params"]]
        for leaf in leaves:
            leaf.grad = torch.zeros_like(leaf)
        twin.step()
    except Exception:  # noqa: BLE001  # an optimizer that takes other gradients, sparse ones say, has no such twin
        return
    for index, table in kept.items():
        expected = twin.state.get(leaves[index], {})
        if not set(table) <= set(expected):
            raise ValueError(f"it keeps {sorted(map(str, table))}, expected {sorted(expected)}")
        for key, value in table.items():
            _check_alike(key, value, expected[key])


def _check_alike(key: str, found: object, expected: object) -> None:
    if isinstance(expected, Tensor) and isinstance(found, Tensor):
        if (found.shape, found.dtype) != (expected.shape, expected.dtype):
            raise ValueError(
                f"{key} is {found.dtype} {tuple(found.shape)}, not {expected.dtype} {tuple(expected.shape)}"
            )
    elif isinstance(expected, int | float) and isinstance(found, int | float):
        pass
    elif type(found) is not type(expected):
        raise ValueError(f"{key} is a {type(found).__name__}, expected a {type(expected).__name__}")
    if key == "step":
        _check_count(key, found)


def _check_count(key: str, found: object) -> None:
    number = float(found.detach()) if isinstance(found, Tensor) else found
    if not isinstance(number, int | float) or not (0 <= number < math.inf and number == int(number)):
        raise ValueError(f"{key} must be a whole number of at least 0, found {number!r}")


_COUNTS = {"func_evals", "n_iter"}
_VECTORS = {"d", "prev_flat_grad"}
_HISTORIES = {"old_dirs", "old_stps"}
_NUMBERS = {"t", "H_diag", "prev_loss"}
_NUMBER_LISTS = {"ro", "al"}


def _check_curvature(kept: Mapping[int, Any], params: Sequence[Tensor]) -> None:
    """Look at the history of LBFGS: vectors over all parameters, as many directions as steps."""
    size = sum((2 if param.is_complex() else 1) * param.numel() for param in params)
    dtypes = {param.real.dtype if param.is_complex() else param.dtype for param in params}
    for table in kept.values():
        unknown = set(table) - _COUNTS - _VECTORS - _HISTORIES - _NUMBERS - _NUMBER_LISTS
        if unknown:
            raise ValueError(f"it keeps {sorted(map(str, unknown))}, which nobody reads")
        for key in _COUNTS & set(table):
            _check_count(key, table[key])
        vectors = [table[key] for key in _VECTORS & set(table) if table[key] is not None]
        histories = [table[key] or [] for key in _HISTORIES & set(table)]
        for vector in (*vectors, *(item for history in histories for item in history)):
            if not isinstance(vector, Tensor) or vector.shape != (size,) or vector.dtype not in dtypes:
                raise ValueError(f"its curvature must be vectors of {size} numbers")
        lists = [table[key] or [] for key in _NUMBER_LISTS & set(table)]
        for number in (*(table[key] for key in _NUMBERS & set(table)), *(item for each in lists for item in each)):
            if number is not None and not isinstance(number, int | float) and not _is_scalar(number):
                raise ValueError(f"expected a number among its curvature, found a {type(number).__name__}")
        if len({len(history) for history in (*histories, *(table[key] or [] for key in {"ro"} & set(table)))}) > 1:
            raise ValueError("it must keep as many directions as steps")


def _is_scalar(value: object) -> bool:
    return isinstance(value, Tensor) and value.dim() == 0
