"""From what a caller gives as a parameter's value to an unconstrained tensor, checked on the way."""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor
from torch.distributions import constraints
from torch.distributions.constraints import Constraint
from torch.distributions.transforms import Transform

from aleator.errors import ParameterError
from aleator.params.constraint_codec import describe_constraint

__all__ = ["as_value", "check_leaf", "unconstrain"]


def as_value(name: str, given: object) -> Tensor:
    """Return a value as a tensor of numbers that can be stored.

    Args:
        name: the parameter.
        given: a tensor, or a Python number (which becomes one of the default dtype).

    Raises:
        ParameterError: it is something else, holds no floating-point numbers, or stands for values that a transform
            or capture will put in later.
    """
    if isinstance(given, int | float) and not isinstance(given, bool):
        given = torch.tensor(given, dtype=torch.get_default_dtype())
    if not isinstance(given, Tensor):
        raise ParameterError(
            f"parameter {name!r}: expected a tensor, a number, or a callable that returns one; "
            f"found a {type(given).__name__}"
        )
    if _is_stand_in(given):
        raise ParameterError(
            f"parameter {name!r} cannot be stored while a transform or capture (torch.func, make_fx, fake tensors) "
            "runs the program: its value is no number yet; run the program once before, or bind the parameter"
        )
    return given


def unconstrain(name: str, value: Tensor, constraint: Constraint, transform: Transform) -> Tensor:
    """Return a new tensor with the unconstrained values, detached and contiguous.

    Raises:
        ParameterError: a value is not finite, not of a floating-point type, or lies outside the constraint, or on its
            edge, where no finite number stands for it. The message holds the first such values.
    """
    # An optimizer cannot use tensors that are born in inference mode, and a program may be run in it first.
    with torch.inference_mode(False), torch.no_grad():
        value = value.detach().as_subclass(Tensor).clone(memory_format=torch.contiguous_format)
        _check_numbers(name, value)
        _check_inside(name, value, constraint)
        unconstrained: Tensor = transform.inv(value)
        is_finite = torch.isfinite(unconstrained)
        if not bool(is_finite.all()):
            raise ParameterError(
                f"parameter {name!r}: {_offending(value, is_finite)} lies on the edge of its constraint "
                f"{describe_constraint(constraint)}, where the unconstrained value is infinite and no gradient can "
                "move it; start inside"
            )
        return unconstrained.contiguous()


def check_leaf(name: str, leaf: Tensor, values: bool = True) -> None:
    """Check that a tensor made elsewhere, such as a module's Parameter, can serve as an unconstrained leaf.

    Args:
        name: the parameter.
        leaf: the tensor.
        values: whether its numbers count; they do not where they are about to be replaced.

    Raises:
        ParameterError: it is not yet initialized, no leaf, does not require grad, or holds numbers that are not finite.
    """
    if torch.nn.parameter.is_lazy(leaf):
        raise ParameterError(
            f"parameter {name!r} is not initialized yet (a lazy module); call the module once before registering it"
        )
    as_value(name, leaf)
    if not leaf.is_leaf or not leaf.requires_grad:
        raise ParameterError(
            f"parameter {name!r}: expected a leaf tensor that requires grad, found one with is_leaf={leaf.is_leaf} and "
            f"requires_grad={leaf.requires_grad}; register a module's own Parameters, and keep frozen ones as buffers"
        )
    if values:
        with torch.no_grad():
            _check_numbers(name, leaf)


def _is_stand_in(value: Tensor) -> bool:
    if torch._C._functorch.is_functorch_wrapped_tensor(value) or torch._is_functional_tensor(value):
        return True
    fake_tensor = sys.modules.get("torch._subclasses.fake_tensor")
    return value.device.type == "meta" or (fake_tensor is not None and isinstance(value, fake_tensor.FakeTensor))


def _check_numbers(name: str, value: Tensor) -> None:
    if not (value.is_floating_point() or value.is_complex()):
        raise ParameterError(
            f"parameter {name!r}: a parameter holds floating-point numbers, found {value.dtype}; "
            "write 1.0 instead of 1, or call .float()"
        )
    is_finite = torch.isfinite(value)
    if not bool(is_finite.all()):
        raise ParameterError(
            f"parameter {name!r} must be finite, found {_offending(value, is_finite)} (shape {tuple(value.shape)}); "
            "check what computes it"
        )


def _check_inside(name: str, value: Tensor, constraint: Constraint) -> None:
    try:
        holds = _holds(constraint, value)
    except (IndexError, RuntimeError, ValueError, AssertionError) as error:
        raise ParameterError(
            f"parameter {name!r}: a value of shape {tuple(value.shape)} does not fit its constraint "
            f"{describe_constraint(constraint)}: {error}"
        ) from error
    if not bool(holds.all()):
        raise ParameterError(
            f"parameter {name!r}: the value must lie in its constraint {describe_constraint(constraint)}, found "
            f"{_offending(value, holds)} (shape {tuple(value.shape)}); give a value inside, or another constraint"
        )


def _holds(constraint: Constraint, value: Tensor) -> Tensor:
    holds: Tensor
    check: Any = constraint.check
    if type(constraint) is type(constraints.simplex):
        # torch allows the sum 1e-6, which rounding alone exceeds in a softmax over many values in single precision.
        tolerance = max(1e-6, 64 * torch.finfo(value.dtype).eps)
        holds = (value >= 0).all(-1) & ((value.double().sum(-1) - 1).abs() < tolerance)
    else:
        holds = check(value)
    return holds


def _offending(value: Tensor, holds: Tensor) -> str:
    """Return the first values, or events, that do not hold."""
    if holds.shape != value.shape[: holds.dim()]:
        return f"{value.tolist()!s:.80}"
    found = value[~holds]
    shown = found[:3].tolist()
    return f"{shown[0] if len(found) == 1 else shown}{' and more' if len(found) > 3 else ''}"
