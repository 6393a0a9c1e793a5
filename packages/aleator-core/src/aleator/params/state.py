"""The content of a store as one value: as live tensors, and as plain data for a file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypedDict

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.constraints import Constraint

from aleator.errors import CheckpointError, ParameterError
from aleator.params.constraint_codec import decode_constraint, encode_constraint, same_constraint
from aleator.params.entries import StoredParameter, transform_for
from aleator.params.initial import as_value

__all__ = ["Content", "StoreState", "adopted", "decode_state", "encode_state", "merge", "state_of"]


class StoreState(TypedDict, total=False):
    """What a store holds.

    Attributes:
        params: unconstrained values by name.
        constraints: constraints by name; a name without one is real.
        buffers: buffers by name.
    """

    params: dict[str, Tensor]
    constraints: dict[str, Constraint]
    buffers: dict[str, Tensor]


class Content(NamedTuple):
    """The two tables of a store."""

    parameters: dict[str, StoredParameter]
    buffers: dict[str, Tensor]


def state_of(content: Content) -> StoreState:
    """Return the live tensors of a store as a state; the dicts are new, the tensors the store's own."""
    parameters = dict(content.parameters)
    return {
        "params": {name: stored.leaf for name, stored in parameters.items()},
        "constraints": {name: stored.constraint for name, stored in parameters.items()},
        "buffers": dict(content.buffers),
    }


def adopted(state: StoreState) -> Content:
    """Return tables for a state: leaves and buffers in it are used as they are, other values are copied to leaves.

    Raises:
        ParameterError: the state is none.
    """
    parameters, buffers = _parts(state)
    content = Content({}, dict(buffers))
    for name, (value, constraint) in parameters.items():
        leaf = value if value.is_leaf and value.requires_grad else _new_leaf(value)
        content.parameters[name] = StoredParameter(leaf, constraint, transform_for(constraint, name))
    return content


def merge(content: Content, state: StoreState) -> None:
    """Bring a state into the tables of a store, all of it or nothing; what it does not name stays.

    A leaf of the same shape is kept and its values are replaced, so that a module or an optimizer that holds it
    follows; so is a buffer of the same shape and dtype.

    Raises:
        ParameterError: the state is none; the store is as it was.
    """
    parameters, buffers = _parts(state)
    stored: dict[str, StoredParameter] = {}
    copies: list[tuple[Tensor, Tensor]] = []
    for name, (value, constraint) in parameters.items():
        old = content.parameters.get(name)
        if old is None or old.leaf.shape != value.shape:
            stored[name] = StoredParameter(_new_leaf(value), constraint, transform_for(constraint, name))
            continue
        copies.append((old.leaf, value))
        if not same_constraint(old.constraint, constraint):
            stored[name] = StoredParameter(old.leaf, constraint, transform_for(constraint, name))
    fresh: dict[str, Tensor] = {}
    for name, value in buffers.items():
        kept = content.buffers.get(name)
        if kept is not None and (kept.shape, kept.dtype) == (value.shape, value.dtype):
            copies.append((kept, value))
        else:
            fresh[name] = value.detach().clone()
    with torch.inference_mode(False), torch.no_grad():
        for target, value in copies:
            target.copy_(value)
    content.parameters.update(stored)
    content.buffers.update(fresh)


def encode_state(state: StoreState) -> dict[str, Any]:
    """Return a state as plain data, to put into a file or into a larger checkpoint.

    Raises:
        ParameterError: a parameter's constraint is none of ``torch.distributions.constraints``.
    """
    parameters, buffers = _parts(state)
    return {
        "params": {
            name: {"constraint": encode_constraint(constraint, name), "unconstrained": value.detach()}
            for name, (value, constraint) in parameters.items()
        },
        "buffers": dict(buffers),
    }


def decode_state(payload: object) -> StoreState:
    """Return the state that :func:`encode_state` wrote.

    Raises:
        CheckpointError: the payload is none, or is damaged.
    """
    state: StoreState = {"params": {}, "constraints": {}, "buffers": {}}
    try:
        saved: Any = payload
        for name, data in saved["params"].items():
            state["params"][_name(name)] = _numbers(name, data["unconstrained"])
            state["constraints"][name] = decode_constraint(data["constraint"], name)
        for name, value in saved["buffers"].items():
            state["buffers"][_name(name)] = _tensor(value)
    except (AttributeError, IndexError, KeyError, TypeError) as error:
        raise CheckpointError(
            "the saved parameters are damaged or of another kind; expected what ParamStore.save wrote"
        ) from error
    _check_shapes(state)
    return state


def _check_shapes(state: StoreState) -> None:
    """Make each transform once: it tells whether the values fit the constraint."""
    for name, value in state["params"].items():
        constraint = state["constraints"][name]
        try:
            StoredParameter(value.detach().clone(), constraint, transform_for(constraint, name)).value()
        except (AssertionError, IndexError, RuntimeError, TypeError, ValueError) as error:
            raise CheckpointError(f"parameter {name!r}: the saved values do not fit {constraint}: {error}") from error


def _name(name: object) -> str:
    if not isinstance(name, str):
        raise TypeError(f"expected a name, found a {type(name).__name__}")
    return name


def _numbers(name: str, value: object) -> Tensor:
    tensor = _tensor(value)
    if not (tensor.is_floating_point() or tensor.is_complex()):
        raise CheckpointError(f"parameter {name!r}: the file holds {tensor.dtype}, expected floating-point numbers")
    return tensor


def _tensor(value: object) -> Tensor:
    if not isinstance(value, Tensor):
        raise TypeError(f"expected a tensor, found a {type(value).__name__}")
    return value


def _parts(state: object) -> tuple[dict[str, tuple[Tensor, Constraint]], dict[str, Tensor]]:
    """Check a state and return (value, constraint) by name, and the buffers."""
    if not isinstance(state, Mapping) or set(state) - {"params", "constraints", "buffers"}:
        found = sorted(map(str, state)) if isinstance(state, Mapping) else type(state).__name__
        raise ParameterError(
            f"expected a store's state, a dict with 'params', 'constraints' and 'buffers' as get_state() gives it; "
            f"found {found}"
        )
    stated = state.get("constraints", {})
    parameters = {
        name: (as_value(name, value), stated.get(name, constraints.real))
        for name, value in state.get("params", {}).items()
    }
    buffers = dict(state.get("buffers", {}))
    for name, value in buffers.items():
        if not isinstance(value, Tensor):
            raise ParameterError(f"buffer {name!r}: expected a tensor, found a {type(value).__name__}")
    return parameters, buffers


def _new_leaf(value: Tensor) -> Tensor:
    with torch.inference_mode(False):
        return value.detach().clone(memory_format=torch.contiguous_format).requires_grad_()
