"""How a distribution keeps its arguments: as they were given, and read at the batch shape when somebody asks.

Keeping them raw makes constructing and expanding free of tensor operations, and lets a density work on the smallest
shapes that give the answer: the logarithm of one scale shared by a thousand data is taken once.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeAlias, final, overload

import torch
from torch import Tensor

from aleator import validation
from aleator.distributions.joint_shapes import broadcast_shapes
from aleator.errors import ParameterError
from aleator.randomness import is_interpreted

if TYPE_CHECKING:
    from torch.distributions.constraints import Constraint

    from aleator.distributions.distribution import Distribution

__all__ = [
    "SCALAR",
    "Argument",
    "Broadcast",
    "as_argument",
    "as_kind",
    "as_tensor_argument",
    "broadcast_shapes",
    "check_arguments",
    "constant",
    "joint_shape",
    "less",
    "lgamma_of",
    "log_of",
    "log_of_number",
    "operand",
    "pair_shape",
    "reciprocal_of",
    "require_expandable",
    "residual",
    "shape_error",
    "shifted",
]

Argument: TypeAlias = Tensor | float

SCALAR = torch.Size()


@final
class Broadcast:
    """An argument of a distribution, kept raw under an underscore and broadcast to the batch shape when read.

    Args:
        event_dim: how many rightmost dims of the argument do not belong to the batch.
    """

    __slots__ = ("_event_dim", "_slot")

    def __init__(self, event_dim: int = 0) -> None:
        self._event_dim = event_dim

    def __set_name__(self, owner: type, name: str) -> None:
        self._slot = "_" + name

    @overload
    def __get__(self, instance: None, owner: type | None = None) -> Broadcast: ...

    @overload
    def __get__(self, instance: Distribution, owner: type | None = None) -> Tensor: ...

    def __get__(self, instance: Distribution | None, owner: type | None = None) -> Tensor | Broadcast:
        if instance is None:
            return self
        value: Argument = instance.__dict__[self._slot]
        shape = instance._batch_shape
        if not isinstance(value, Tensor):
            value = constant(value, instance._like())
        elif self._event_dim:
            shape = shape + value.shape[value.dim() - self._event_dim :]
        return value if value.shape == shape else value.expand(shape)


def constant(value: float, like: Tensor | None) -> Tensor:
    """Return a number as a tensor without dims: of the kind of ``like`` where that is floating, else the default."""
    if like is None:
        return torch.full((), value, dtype=torch.get_default_dtype())
    dtype = like.dtype if like.is_floating_point() else torch.get_default_dtype()
    return torch.full((), value, dtype=dtype, device=like.device)


def operand(value: float, like: Tensor) -> Tensor:
    """Return a number as the partner of ``like`` in arithmetic; never to be written to, nor handed out.

    Torch wraps a Python number anew in every operation, which costs more than a small kernel: here the wrapped number
    is shared, except where a transform or a capture interprets the program and must see it made.
    """
    if is_interpreted():
        return constant(value, like)
    return _shared(value, like.dtype if like.is_floating_point() else torch.get_default_dtype(), like.device)


@lru_cache(maxsize=1024)
def _shared(value: float, dtype: torch.dtype, device: torch.device) -> Tensor:
    with torch.inference_mode(False):
        return torch.full((), value, dtype=dtype, device=device)


def shifted(noise: Tensor, loc: Argument, scale: Argument) -> Tensor:
    """Return ``loc + noise * scale``."""
    if isinstance(scale, Tensor):
        noise = noise * scale
    elif scale != 1.0:
        noise = noise * operand(scale, noise)
    if isinstance(loc, Tensor):
        return loc + noise
    return noise if loc == 0.0 else operand(loc, noise) + noise


def residual(value: Tensor, loc: Argument) -> Tensor:
    """Return ``value - loc``."""
    if isinstance(loc, Tensor):
        return value - loc
    return value if loc == 0.0 else value - operand(loc, value)


def as_argument(owner: Distribution, name: str, value: Any) -> Argument:  # noqa: ANN401  # whatever a user passes
    """Return an argument as a tensor or a Python number.

    Raises:
        TypeError: where it is neither, nor convertible to a number.
    """
    if isinstance(value, Tensor | float | int | torch.SymInt | torch.SymFloat):
        return value  # type: ignore[return-value]  # symbolic numbers stand for numbers
    if getattr(value, "shape", None) in (None, ()):
        try:
            return float(value)
        except (TypeError, ValueError):
            pass
    raise TypeError(
        f"{type(owner).__name__} expects {name!r} as a tensor or a number, but found {type(value).__name__}; "
        f"pass torch.as_tensor(...)"
    )


def as_tensor_argument(
    owner: Distribution,
    name: str,
    value: Any,  # noqa: ANN401  # whatever a user passes
    min_dim: int = 0,
) -> Tensor:
    """Return an argument as a tensor with at least so many dims."""
    if not isinstance(value, Tensor):
        value = as_argument(owner, name, value)
        if not isinstance(value, Tensor):
            value = constant(value, None)
    if value.dim() < min_dim:
        raise ParameterError(
            f"{type(owner).__name__} expects {name!r} with at least {min_dim} dim(s), "
            f"but found shape {tuple(value.shape)}"
        )
    tensor: Tensor = value
    return tensor


def check_arguments(
    owner: Distribution, validate_args: bool | None, checks: Iterable[tuple[str, Constraint, Any]]
) -> None:
    """Remember whether the distribution validates, check numbers at once, and pass tensors on to the run's checks.

    Raises:
        ParameterError: for the first number outside its constraint; outside a run, for the first tensor too.
    """
    owner._validate_args = enabled = validation.is_enabled(validate_args)
    if not enabled:
        return
    tensors = []
    is_noted = validation.takes_notes()
    for check in checks:
        value = check[2]
        if isinstance(value, Tensor):
            if is_noted:
                tensors.append(check)
        elif not check[1].check(value):  # type: ignore[no-untyped-call]  # torch leaves it untyped
            raise ParameterError(
                f"{type(owner).__name__} expects {check[0]!r} in {check[1]}, but found {value}; "
                f"constrain the parameter, or transform the value before it gets here"
            )
    if tensors:
        validation.check_arguments(owner, tuple(tensors))


def pair_shape(owner: Distribution, first_name: str, first: Argument, second_name: str, second: Argument) -> torch.Size:
    """Return the joint shape of two arguments; numbers have none.

    Raises:
        ParameterError: where the shapes do not broadcast, naming the distribution, both arguments and both shapes.
    """
    if isinstance(first, Tensor):
        shape = first.shape
        if isinstance(second, Tensor) and second.shape != shape:
            return joint_shape(owner, {first_name: first, second_name: second})
        return shape
    return second.shape if isinstance(second, Tensor) else SCALAR


def joint_shape(owner: Distribution, arguments: dict[str, Any], event_dims: dict[str, int] | None = None) -> torch.Size:
    """Return the joint batch shape of arguments, each without its rightmost ``event_dims`` dims.

    Raises:
        ParameterError: where the shapes do not broadcast.
    """
    shapes = []
    for name, value in arguments.items():
        if isinstance(value, Tensor):
            event_dim = 0 if event_dims is None else event_dims.get(name, 0)
            shapes.append(value.shape[: value.dim() - event_dim])
    try:
        return broadcast_shapes(*shapes)
    except RuntimeError as error:
        raise shape_error(owner, arguments) from error


def shape_error(owner: Distribution, arguments: dict[str, Any], reason: str = "do not broadcast") -> ParameterError:
    """Return the error for arguments whose shapes do not fit each other."""
    shapes = ", ".join(f"{name} {tuple(value.shape)}" for name, value in arguments.items() if isinstance(value, Tensor))
    return ParameterError(
        f"{type(owner).__name__}: the shapes of its arguments {reason}: {shapes}; "
        f"sizes must be equal, or 1, counted from the right"
    )


@lru_cache(maxsize=4096)
def _expands(old: torch.Size, new: torch.Size) -> bool:
    if len(new) < len(old):
        return False
    return all(size in (1, wanted) for size, wanted in zip(reversed(old), reversed(new), strict=False))


def require_expandable(owner: Distribution, batch_shape: torch.Size) -> None:
    """Raise ``ParameterError`` where a distribution's batch shape does not expand to another."""
    if not _expands(owner._batch_shape, batch_shape):
        raise ParameterError(
            f"{type(owner).__name__} of batch shape {tuple(owner._batch_shape)} does not expand to "
            f"{tuple(batch_shape)}; only dims of size 1 and new dims on the left can grow"
        )


def as_kind(value: Argument, like: Tensor | None) -> Tensor:
    """Return an argument as a tensor to calculate with, a number in the kind of ``like``."""
    if isinstance(value, Tensor):
        return value
    return constant(value, None) if like is None else operand(value, like)


def less(value: Argument, number: float, like: Tensor) -> Tensor:
    """Return ``value - number`` as a tensor."""
    return value - operand(number, value) if isinstance(value, Tensor) else operand(value - number, like)


def log_of(value: Argument) -> Argument:
    """Return the logarithm of a tensor or of a number; minus infinity at zero, NaN below."""
    return value.log() if isinstance(value, Tensor) else log_of_number(value)


def log_of_number(value: float) -> float:
    """Return the logarithm of a number; minus infinity at zero, NaN below."""
    if value > 0:
        return math.log(value)
    return -math.inf if value == 0 else math.nan


def lgamma_of(value: Argument) -> Argument:
    """Return the logarithm of the gamma function of a tensor or of a number; infinity at its poles."""
    if isinstance(value, Tensor):
        return value.lgamma()
    return math.inf if value <= 0 and value == int(value) else math.lgamma(value)


def reciprocal_of(value: Argument) -> Argument:
    """Return one over a tensor or a number; infinity at zero."""
    if isinstance(value, Tensor):
        return value.reciprocal()
    return 1.0 / value if value else math.inf
