"""Options of an optimizer: given as a dict, as keywords or by parameter name, and checked before the first step."""

from __future__ import annotations

import difflib
import inspect
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from functools import partial
from typing import Any, TypeVar

import torch
from torch import Tensor

__all__ = [
    "ByName",
    "Options",
    "OptionsLike",
    "build_options",
    "by_name",
    "check_betas",
    "check_known",
    "check_not_negative",
    "check_rate",
    "read_by_name",
    "read_options",
]

ByName = Callable[[str], Mapping[str, Any]]
OptionsLike = Mapping[str, Any] | Callable[..., Mapping[str, Any]] | None

_OptionsType = TypeVar("_OptionsType", bound="Options")

_KERNEL_SWITCHES = frozenset({"foreach", "fused", "capturable", "differentiable"})
_MODULE_DIVIDER = "$$$"


class Options(ABC):
    """What one set of parameters is optimized with; a final frozen dataclass per optimizer."""

    lr: float | Tensor

    def __post_init__(self) -> None:
        """Check the values as soon as they are known."""
        self.check()

    @abstractmethod
    def check(self) -> None:
        """Raise ``ValueError`` or ``TypeError`` for a value that the optimizer cannot run with."""


def check_not_negative(**values: object) -> None:
    """Raise unless every value is a finite number of at least 0."""
    for name, value in values.items():
        if not isinstance(value, int | float):
            raise TypeError(f"{name} must be a number, found {type(value).__name__}")
        if not (value >= 0 and math.isfinite(value)):
            raise ValueError(f"{name} must be finite and at least 0, found {value!r}")


def check_rate(lr: object) -> None:
    """Raise unless the learning rate is a number of at least 0, or a tensor of one such element."""
    if isinstance(lr, Tensor):
        if lr.numel() != 1:
            raise ValueError(f"lr must have one element, found a tensor of shape {tuple(lr.shape)}")
        lr = float(lr.detach())
    check_not_negative(lr=lr)


def check_betas(betas: object) -> tuple[float, float]:
    """Return ``betas`` if it is a pair of numbers in [0, 1)."""
    if not isinstance(betas, tuple | list) or len(betas) != 2:
        raise ValueError(f"betas must be a pair of numbers, found {betas!r}")
    for beta in betas:
        if not isinstance(beta, int | float) or not 0 <= beta < 1:
            raise ValueError(f"betas must lie in [0, 1), found {betas!r}")
    return betas[0], betas[1]


def check_known(owner: str, given: Iterable[str], known: Iterable[str]) -> None:
    """Raise ``TypeError`` for an option that ``owner`` does not have, with the nearest one that it has."""
    known = sorted(known)
    for key in given:
        if key in known:
            continue
        if key in _KERNEL_SWITCHES:
            raise TypeError(
                f"{owner}: {key!r} selects a kernel of torch.optim; here the kernel follows from dtype and device. "
                "Leave the option out."
            )
        near = difflib.get_close_matches(str(key), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(known)}"
        raise TypeError(f"{owner} has no option {key!r}; {hint}")


def build_options(owner: str, options_type: type[_OptionsType], given: Mapping[str, Any]) -> _OptionsType:
    """Return ``options_type(**given)``; what is wrong is said with the optimizer's name."""
    if not isinstance(given, Mapping):
        raise TypeError(f"{owner}: options must be a dict, found {type(given).__name__}")
    check_known(owner, given, (field.name for field in fields(options_type)))  # type: ignore[arg-type]  # a dataclass
    try:
        return options_type(**given)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{owner}: {error}") from None


def _split_name(function: Callable[[str, str], Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    module, _, parameter = name.partition(_MODULE_DIVIDER)
    return function(module, parameter or name)


def by_name(owner: str, role: str, function: Callable[..., Mapping[str, Any]]) -> ByName:
    """Return a callable of one parameter name.

    Pyro's older form of two arguments, the module's name and the parameter's name within it, is accepted too.
    """
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):  # a callable written in C: it will say itself what it takes
        return function
    positional = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    required = sum(p.kind in positional and p.default is inspect.Parameter.empty for p in parameters)
    possible = sum(p.kind in positional for p in parameters)
    if any(p.kind is inspect.Parameter.VAR_POSITIONAL for p in parameters) or required == 1:
        return function
    if required == 2:
        return partial(_split_name, function)
    if required == 0 and possible >= 1:
        return function
    raise TypeError(
        f"{owner}: the callable given for {role} must take the parameter's name; it takes {required} arguments"
    )


def read_by_name(owner: str, role: str, function: ByName, name: str) -> Mapping[str, Any]:
    """Ask a callable for the dict of one parameter."""
    given = function(name)
    if not isinstance(given, Mapping):
        raise TypeError(
            f"{owner}: the callable given for {role} must return a dict; for parameter {name!r} it returned "
            f"{type(given).__name__}"
        )
    return given


def read_options(
    owner: str, options_type: type[_OptionsType], options: OptionsLike, keywords: Mapping[str, Any]
) -> _OptionsType | ByName:
    """Return checked options, or a callable that gives them by parameter name."""
    given = choose_form(owner, options, keywords)
    return build_options(owner, options_type, given) if isinstance(given, Mapping) else given


def choose_form(owner: str, options: object, keywords: Mapping[str, Any]) -> Mapping[str, Any] | ByName:
    """Return the dict or the callable that was given, in whichever of the accepted forms."""
    if options is None:
        return keywords
    if keywords and (isinstance(options, Mapping) or callable(options)):
        raise TypeError(f"{owner} takes its options as one dict or callable, or as keywords, not both")
    if isinstance(options, Mapping):
        return options
    if callable(options):
        return by_name(owner, "options", options)
    found = "a tensor" if isinstance(options, torch.Tensor) else type(options).__name__
    raise TypeError(
        f"{owner} takes a dict of options, a callable from a parameter's name to such a dict, or keywords; found "
        f"{found}. The parameters themselves are found by the run: write {owner}({{'lr': 1e-3}}) or {owner}(lr=1e-3)"
    )
