"""The making of a parameter that a store does not have yet."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.distributions.constraints import Constraint

from aleator.errors import ParameterError
from aleator.params.entries import StoredParameter, transform_for
from aleator.params.initial import as_value, unconstrain

__all__ = ["created"]


def created(name: str, init: object, constraint: Constraint) -> StoredParameter:
    """Make a parameter from its initial value.

    Args:
        name: the parameter.
        init: a tensor, a number, or a callable that returns one; it is called here, once, without a graph.
        constraint: where the value lies.

    Raises:
        ParameterError: the value cannot be stored under this constraint, or not at this place of the program.
    """
    transform = transform_for(constraint, name)
    if callable(init) and not isinstance(init, Tensor):
        with torch.no_grad():
            init = init()
    leaf = unconstrain(name, as_value(name, init), constraint, transform)
    try:
        leaf.requires_grad_()
    except RuntimeError as error:
        raise ParameterError(
            f"parameter {name!r} cannot be created inside torch.func.{{grad, jvp, ...}}: "
            "run the program once before, or bind the parameter"
        ) from error
    return StoredParameter(leaf, constraint, transform)
