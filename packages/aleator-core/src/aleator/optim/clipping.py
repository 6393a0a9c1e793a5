"""Clipping of a parameter's gradient by its norm and by value."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, final

import torch
from torch import Tensor

from aleator.optim.options import ByName, by_name, check_known, check_not_negative

__all__ = ["ClipLike", "GradientClip", "read_clip"]

ClipLike = Mapping[str, Any] | Callable[..., Mapping[str, Any]] | None

# What torch.nn.utils.clip_grad_norm_ adds to the norm before it divides.
_NORM_OFFSET = 1e-6


@final
@dataclass(frozen=True, slots=True)
class GradientClip:
    """How the gradient of one parameter is clipped: first its Euclidean norm, then each of its elements.

    Attributes:
        clip_norm: the largest norm that passes unchanged; None for any.
        clip_value: the largest absolute value of an element; None for any.

    Example:
        >>> import torch
        >>> from aleator.optim import GradientClip
        >>> GradientClip(clip_value=1.0).apply(torch.tensor([3.0, -0.5]))
        tensor([ 1.0000, -0.5000])
    """

    clip_norm: float | None = None
    clip_value: float | None = None

    def __post_init__(self) -> None:
        """Raise ``ValueError`` for a negative bound."""
        for name, bound in (("clip_norm", self.clip_norm), ("clip_value", self.clip_value)):
            if bound is not None:
                check_not_negative(**{name: bound})

    def apply(self, grad: Tensor) -> Tensor:
        """Return the clipped gradient as a new tensor; the given one is left as it is."""
        if self.clip_norm is not None:
            norm = torch.linalg.vector_norm(grad)
            grad = grad * torch.clamp(self.clip_norm / (norm + _NORM_OFFSET), max=1.0)
        if self.clip_value is not None:
            grad = torch.clamp(grad, -self.clip_value, self.clip_value)
        return grad


def build_clip(owner: str, given: Mapping[str, Any]) -> GradientClip | None:
    """Return the clipping that a dict of ``clip_norm`` and ``clip_value`` asks for; None where it asks for none."""
    check_known(f"{owner}: clip_args", given, ("clip_norm", "clip_value"))
    try:
        clip = GradientClip(**given)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{owner}: clip_args: {error}") from None
    return None if clip == GradientClip() else clip


def read_clip(owner: str, given: ClipLike) -> GradientClip | ByName | None:
    """Return checked clipping, or a callable that gives it by parameter name."""
    if given is None or isinstance(given, GradientClip):
        return given
    if isinstance(given, Mapping):
        return build_clip(owner, given)
    if callable(given):
        return by_name(owner, "clip_args", given)
    raise TypeError(
        f"{owner}: clip_args must be a dict with 'clip_norm' and 'clip_value', or a callable from a parameter's name "
        f"to such a dict; found {type(given).__name__}"
    )
