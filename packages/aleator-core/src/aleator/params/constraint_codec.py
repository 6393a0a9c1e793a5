"""Constraints as plain data: what a file holds in their place, and when two of them say the same.

A constraint is written as its name in ``torch.distributions.constraints`` and its arguments. Reading goes through a
fixed table of names, so that a file can ask for nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.constraints import Constraint

from aleator.errors import CheckpointError, ParameterError

__all__ = ["decode_constraint", "describe_constraint", "encode_constraint", "same_constraint", "tensors_of"]

# The ones that people write without arguments, by the name under which torch offers the object.
_SINGLETONS: dict[str, Constraint] = {
    name: getattr(constraints, name)
    for name in (
        "real",
        "positive",
        "nonnegative",
        "unit_interval",
        "simplex",
        "lower_cholesky",
        "lower_triangular",
        "corr_cholesky",
        "positive_definite",
        "positive_semidefinite",
        "real_vector",
        "square",
        "symmetric",
        "boolean",
        "one_hot",
        "nonnegative_integer",
        "positive_integer",
    )
}

# Constructor and names of its arguments, which are also the names of the object's attributes.
_FACTORIES: dict[str, tuple[Any, tuple[str, ...]]] = {
    "greater_than": (constraints.greater_than, ("lower_bound",)),
    "greater_than_eq": (constraints.greater_than_eq, ("lower_bound",)),
    "less_than": (constraints.less_than, ("upper_bound",)),
    "interval": (constraints.interval, ("lower_bound", "upper_bound")),
    "half_open_interval": (constraints.half_open_interval, ("lower_bound", "upper_bound")),
    "integer_interval": (constraints.integer_interval, ("lower_bound", "upper_bound")),
    "integer_greater_than": (type(constraints.nonnegative_integer), ("lower_bound",)),
    "multinomial": (constraints.multinomial, ("upper_bound",)),
    "independent": (constraints.independent, ("base_constraint", "reinterpreted_batch_ndims")),
    "cat": (constraints.cat, ("cseq", "dim", "lengths")),
    "stack": (constraints.stack, ("cseq", "dim")),
    "MixtureSameFamilyConstraint": (constraints.MixtureSameFamilyConstraint, ("base_constraint",)),
}
_NAMES: dict[type[Constraint], str] = {factory: name for name, (factory, _) in _FACTORIES.items()}


def encode_constraint(constraint: Constraint, parameter: str) -> dict[str, Any]:
    """Return a constraint as a dict of strings, numbers and tensors.

    Args:
        constraint: any constraint of ``torch.distributions.constraints``, nested ones too.
        parameter: the name of the parameter it belongs to, for the error.

    Raises:
        ParameterError: the constraint is of another class, so that no name stands for it in a file.

    Example:
        >>> from torch.distributions import constraints
        >>> encode_constraint(constraints.positive, "scale")
        {'name': 'positive'}
        >>> encode_constraint(constraints.interval(-1.0, 2.0), "x")
        {'name': 'interval', 'arguments': {'lower_bound': -1.0, 'upper_bound': 2.0}}
    """
    for name, singleton in _SINGLETONS.items():
        if constraint is singleton:
            return {"name": name}
    # The exact class: a subclass may mean something else by the same arguments.
    kind = type(constraint)
    if _is_plain(kind):
        return {"name": next(name for name, singleton in _SINGLETONS.items() if type(singleton) is kind)}
    found = _NAMES.get(kind)
    if found is None:
        raise ParameterError(
            f"parameter {parameter!r} cannot be written to a file: its constraint {constraint!r} "
            f"({kind.__module__}.{kind.__qualname__}) is none of torch.distributions.constraints, so a file has no "
            "name for it; give the parameter one of those, or save the unconstrained values yourself"
        )
    fields = _FACTORIES[found][1]
    return {
        "name": found,
        "arguments": {field: _encode_argument(getattr(constraint, field), parameter) for field in fields},
    }


def decode_constraint(data: object, parameter: str) -> Constraint:
    """Return the constraint that :func:`encode_constraint` wrote.

    Raises:
        CheckpointError: the data name no known constraint, or arguments that it does not take.
    """
    name = data.get("name") if isinstance(data, Mapping) else None
    arguments = data.get("arguments") if isinstance(data, Mapping) else None
    if isinstance(name, str):
        if arguments is None and name in _SINGLETONS:
            return _SINGLETONS[name]
        if name in _FACTORIES and isinstance(arguments, Mapping) and set(arguments) == set(_FACTORIES[name][1]):
            decoded = {field: _decode_argument(value, parameter) for field, value in arguments.items()}
            try:
                constraint: Constraint = _FACTORIES[name][0](**decoded)
            except (AssertionError, TypeError, ValueError) as error:
                raise CheckpointError(
                    f"parameter {parameter!r}: the saved constraint {name} is damaged: {error}"
                ) from error
            return constraint
    raise CheckpointError(f"parameter {parameter!r}: the file names an unknown constraint, {data!r}")


def same_constraint(first: Constraint, second: Constraint) -> bool:
    """Tell whether two constraints say the same, by class and arguments.

    Nothing is read back from an accelerator or from a traced tensor: two such bounds of one shape count as equal.
    """
    if first is second:
        return True
    if type(first) is not type(second):
        return False
    ours, theirs = vars(first), vars(second)
    return ours.keys() == theirs.keys() and all(_same_value(ours[key], theirs[key]) for key in ours)


def describe_constraint(constraint: Constraint) -> str:
    """Return a constraint as one writes it in a program.

    Example:
        >>> from torch.distributions import constraints
        >>> describe_constraint(constraints.unit_interval), describe_constraint(constraints.greater_than(2))
        ('unit_interval', 'greater_than(lower_bound=2)')
    """
    for name, singleton in _SINGLETONS.items():
        if constraint is singleton:
            return name
    found = _NAMES.get(type(constraint))
    if found is None:
        return repr(constraint)
    return f"{found}({', '.join(f'{field}={_show(getattr(constraint, field))}' for field in _FACTORIES[found][1])})"


def tensors_of(constraint: Constraint) -> list[Tensor]:
    """Return the tensors among the arguments of a constraint, nested ones too."""
    return _tensors_in(list(vars(constraint).values()))


def _is_plain(kind: type[Constraint]) -> bool:
    """Tell whether a class takes no arguments and has its name from a singleton."""
    return kind not in _NAMES and any(type(singleton) is kind for singleton in _SINGLETONS.values())


def _encode_argument(value: object, parameter: str) -> object:
    if isinstance(value, Constraint):
        return encode_constraint(value, parameter)
    if isinstance(value, Tensor):
        return value.detach()
    if isinstance(value, list | tuple):
        return [_encode_argument(item, parameter) for item in value]
    if isinstance(value, bool | int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    raise ParameterError(
        f"parameter {parameter!r} cannot be written to a file: its constraint holds a {type(value).__name__}, and only "
        "numbers, tensors and constraints can be written"
    )


def _decode_argument(value: object, parameter: str) -> object:
    if isinstance(value, Mapping):
        return decode_constraint(value, parameter)
    if isinstance(value, list):
        return [_decode_argument(item, parameter) for item in value]
    if isinstance(value, Tensor | int | float):
        return value
    raise CheckpointError(f"parameter {parameter!r}: the saved constraint is damaged: {value!r}")


def _same_value(ours: object, theirs: object) -> bool:
    if ours is theirs:
        return True
    if isinstance(ours, Constraint) and isinstance(theirs, Constraint):
        return same_constraint(ours, theirs)
    if isinstance(ours, list | tuple) and isinstance(theirs, list | tuple):
        return len(ours) == len(theirs) and all(map(_same_value, ours, theirs))
    if isinstance(ours, Tensor) or isinstance(theirs, Tensor):
        return _same_tensor(torch.as_tensor(ours), torch.as_tensor(theirs))
    return bool(ours == theirs)


def _same_tensor(ours: Tensor, theirs: Tensor) -> bool:
    if ours.shape != theirs.shape:
        return False
    if not (_is_readable(ours) and _is_readable(theirs)):
        return True
    return bool((ours == theirs).all())


def _is_readable(value: Tensor) -> bool:
    """Tell whether the numbers are in this machine's memory, and are numbers: no device, trace or transform."""
    return (
        value.device.type == "cpu"
        and not torch._C._functorch.is_functorch_wrapped_tensor(value)
        and not torch._C._len_torch_dispatch_stack()
    )


def _tensors_in(values: Sequence[Any]) -> list[Tensor]:
    found: list[Tensor] = []
    for value in values:
        if isinstance(value, Tensor):
            found.append(value)
        elif isinstance(value, Constraint):
            found += tensors_of(value)
        elif isinstance(value, list | tuple):
            found += _tensors_in(value)
    return found


def _show(value: object) -> str:
    if isinstance(value, Constraint):
        return describe_constraint(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_show, value))}]"
    if isinstance(value, Tensor):
        return f"tensor of shape {tuple(value.shape)}" if value.dim() else f"tensor({value.item():g})"
    return repr(value)
