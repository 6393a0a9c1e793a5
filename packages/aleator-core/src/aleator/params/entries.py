"""One stored parameter: its unconstrained leaf, its constraint, and the transform between the two spaces."""

from __future__ import annotations

import warnings
import weakref
from collections import OrderedDict
from typing import Any, NamedTuple, final

import torch
from torch import Tensor
from torch.distributions import constraints, transform_to, transforms
from torch.distributions.constraints import Constraint

from aleator.errors import AleatorWarning, ParameterError
from aleator.params.constraint_codec import describe_constraint, same_constraint, tensors_of
from aleator.params.lean_transforms import forward_of, lean

__all__ = ["Entry", "LeafReference", "StoredParameter", "is_identity", "transform_for"]


class Entry(NamedTuple):
    """What the store knows of one parameter.

    Attributes:
        leaf: the unconstrained tensor that an optimizer changes.
        transform: from unconstrained to constrained values.
        constraint: where the constrained values lie.
    """

    leaf: Tensor
    transform: transforms.Transform
    constraint: Constraint


@final
class LeafReference:
    """The ``unconstrained`` method of a constrained value: calling it gives the leaf, while the leaf is alive.

    A weak reference, so that a value in somebody's list keeps no parameter alive and no cycle arises where value and
    leaf are one tensor. It copies and pickles as "no leaf": a copy of a value belongs to no store.
    """

    __slots__ = ("_reference",)

    def __init__(self, leaf: Tensor | None) -> None:
        self._reference = None if leaf is None else weakref.ref(leaf)

    def __call__(self) -> Tensor | None:
        """Return the unconstrained leaf, or None where it is gone."""
        return None if self._reference is None else self._reference()

    def __copy__(self) -> LeafReference:
        return LeafReference(None)

    def __deepcopy__(self, memo: dict[int, Any]) -> LeafReference:
        return LeafReference(None)

    def __reduce__(self) -> tuple[Any, ...]:
        # A pickled tensor takes its attributes along, and a class of ours would make the file unsafe to read.
        return OrderedDict, ()


@final
class StoredParameter:
    """The store's record of one parameter.

    Attributes:
        entry: leaf, transform and constraint, made once.
        forward: from leaf to value; None where the value is the leaf.
        shape: the shape of the constrained value.
        settled: a difference from the stored shape or constraint has been told; do not look again.
    """

    __slots__ = ("constraint", "entry", "forward", "leaf", "reference", "settled", "shape")

    def __init__(self, leaf: Tensor, constraint: Constraint, transform: transforms.Transform) -> None:
        self.entry = Entry(leaf, transform, constraint)
        self.leaf = leaf
        self.constraint = constraint
        self.forward = None if is_identity(constraint) else forward_of(transform)
        forward_shape: Any = transform.forward_shape
        self.shape = leaf.shape if self.forward is None else torch.Size(forward_shape(leaf.shape))
        self.reference = LeafReference(leaf)
        self.settled = False
        leaf.unconstrained = self.reference  # type: ignore[attr-defined]  # the leaf of a real parameter is its value

    def value(self) -> Tensor:
        """Return the constrained value; for ``real`` the leaf itself."""
        forward = self.forward
        if forward is None:
            return self.leaf
        value = forward(self.leaf)
        value.unconstrained = self.reference  # type: ignore[attr-defined]  # as users of Pyro expect
        return value

    def compare(self, name: str, init: object, constraint: Constraint | None) -> None:
        """Warn, once, where the shape of a tensor or the constraint that a program states is not the stored one."""
        differences = []
        if isinstance(init, Tensor) and init.shape != self.shape:
            differences.append(f"shape {tuple(self.shape)}, where the program gives one of shape {tuple(init.shape)}")
        if constraint is not None and not same_constraint(constraint, self.constraint):
            differences.append(
                f"constraint {describe_constraint(self.constraint)}, where the program states "
                f"{describe_constraint(constraint)}"
            )
        if differences:
            self.settled = True
            warnings.warn(
                f"parameter {name!r} is stored with {', and '.join(differences)}; the stored value is used. "
                "Clear the store (clear_param_store()) or rename the parameter to start anew",
                AleatorWarning,
                stacklevel=4,
            )


def is_identity(constraint: Constraint) -> bool:
    """Tell whether constrained and unconstrained values are the same tensors."""
    while type(constraint) is constraints.independent:
        constraint = constraint.base_constraint
    return type(constraint) is type(constraints.real)


def transform_for(constraint: Constraint, name: str) -> transforms.Transform:
    """Return ``transform_to(constraint)``, computed in few kernels.

    Raises:
        ParameterError: there is none, as for discrete constraints, or a bound carries an autograd graph.
    """
    if not isinstance(constraint, Constraint):
        raise ParameterError(
            f"parameter {name!r}: expected a constraint such as constraints.positive, found {constraint!r}"
        )
    if any(bound.requires_grad for bound in tensors_of(constraint)):
        raise ParameterError(
            f"parameter {name!r}: a bound of its constraint {describe_constraint(constraint)} requires grad, and the "
            "store would keep the graph of one run; detach the bound, or transform the value in the program"
        )
    try:
        transform: transforms.Transform = lean(transform_to(constraint))
    except NotImplementedError:
        raise ParameterError(
            f"parameter {name!r}: no transform leads to the constraint {describe_constraint(constraint)}; a parameter "
            "needs a continuous one, such as real, positive, interval(low, high) or simplex"
        ) from None
    return transform
