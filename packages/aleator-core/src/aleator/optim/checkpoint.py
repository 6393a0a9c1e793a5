"""An optimizer's state as plain data, and back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from torch import Tensor

from aleator.errors import CheckpointError
from aleator.optim.leaves import rate_dtype
from aleator.optim.optimizer import OptimizerState, Params

__all__ = [
    "check_counts",
    "check_header",
    "check_numbers",
    "copied",
    "from_payload",
    "misfit",
    "named_params",
    "tensors",
    "to_payload",
]

FORMAT = 1


def misfit(optimizer: str, what: str) -> CheckpointError:
    """Return the error for a payload that cannot become a state of this optimizer."""
    return CheckpointError(f"the saved optimizer state does not fit {optimizer}: {what}")


def copied(table: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the table with tensors of its own."""
    return {key: value.detach().clone() for key, value in table.items()}


def to_payload(optimizer: str, state: OptimizerState) -> dict[str, Any]:
    """Return the state as nested dicts of tensors, independent of the run."""
    return {
        "format": FORMAT,
        "optimizer": optimizer,
        "slots": {name: copied(slots) for name, slots in state.slots.items()},
        "learning_rates": copied(state.learning_rates),
    }


def check_header(optimizer: str, payload: object) -> Mapping[str, Any]:
    """Return the payload if it is one, written in this format by an optimizer of this name."""
    if not isinstance(payload, Mapping):
        raise misfit(optimizer, f"expected a dict, found {type(payload).__name__}")
    if payload.get("format") != FORMAT:
        raise misfit(optimizer, f"this version reads format {FORMAT}, found {payload.get('format')!r}")
    if payload.get("optimizer") != optimizer:
        raise misfit(optimizer, f"it was written by {payload.get('optimizer')!r}")
    return payload


def named_params(optimizer: str, names: object, params: Params) -> dict[str, Tensor]:
    """Return the parameters of these names."""
    if not isinstance(names, Mapping | list):
        raise misfit(optimizer, f"expected parameter names, found {type(names).__name__}")
    missing = [name for name in names if name not in params]
    if missing:
        raise misfit(optimizer, f"the run has no parameter {', '.join(repr(name) for name in missing)}")
    return {name: params[name] for name in names}


def tensors(optimizer: str, label: str, found: object, like: Mapping[str, Tensor] | None = None) -> dict[str, Tensor]:
    """Return a table of tensors from a payload, checked against (and moved to the devices of) another."""
    if not isinstance(found, Mapping) or not all(isinstance(value, Tensor) for value in found.values()):
        raise misfit(optimizer, f"{label} must be a dict of tensors")
    if like is None:
        return copied(found)
    if found.keys() != like.keys():
        raise misfit(optimizer, f"{label} must hold {sorted(like)}, found {sorted(map(str, found))}")
    table = {}
    for key, expected in like.items():
        value = found[key]
        if value.shape != expected.shape or value.dtype != expected.dtype:
            raise misfit(
                optimizer,
                f"{label}[{key!r}] must be {expected.dtype} of shape {tuple(expected.shape)}, "
                f"found {value.dtype} of shape {tuple(value.shape)}",
            )
        # Copied into a tensor made as the run makes its own, so that its memory is laid out as the parameter's is.
        table[key] = expected.detach().clone().copy_(value.detach())
    return table


def check_numbers(optimizer: str, label: str, found: Tensor) -> None:
    """Raise unless a tensor read from a file holds finite numbers of at least 0."""
    if found.is_complex() or not bool((found.isfinite() & (found >= 0)).all()):
        raise misfit(optimizer, f"{label} must be finite and at least 0, found {found.tolist()}")


def check_counts(optimizer: str, label: str, found: Tensor) -> None:
    """Raise unless a tensor read from a file holds whole numbers of at least 0."""
    check_numbers(optimizer, label, found)
    if found.is_floating_point() and not bool((found == found.floor()).all()):
        raise misfit(optimizer, f"{label} must be a whole number, found {found.tolist()}")


def from_payload(
    optimizer: str, payload: object, params: Params, init: Callable[[Params], OptimizerState]
) -> OptimizerState:
    """Return the state that a payload describes, without a schedule's part.

    Args:
        optimizer: the optimizer's name.
        payload: what `to_payload` returned.
        params: the parameters of the run.
        init: makes the state that these parameters would start from; names, shapes and dtypes must agree with it.
    """
    payload = check_header(optimizer, payload)
    template = init(named_params(optimizer, payload.get("slots"), params))
    slots = {
        name: tensors(optimizer, f"the entry of parameter {name!r}", payload["slots"][name], template.slots[name])
        for name in template.slots
    }
    for name, table in slots.items():
        if "step" in table:
            check_counts(optimizer, f"the step count of parameter {name!r}", table["step"])
    rates = tensors(optimizer, "learning_rates", payload.get("learning_rates"))
    for leader, rate in rates.items():
        if leader not in slots or rate.shape != ():
            raise misfit(optimizer, f"learning_rates[{leader!r}] is not the rate of a parameter")
        check_numbers(optimizer, f"learning_rates[{leader!r}]", rate)
        rates[leader] = rate.to(params[leader].device, rate_dtype(params[leader].device))
    return OptimizerState(slots, rates, {}, {}, ())
