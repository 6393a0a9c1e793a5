"""The joint shape of tensors that broadcast."""

from __future__ import annotations

from functools import lru_cache

import torch

__all__ = ["broadcast_shapes"]


def broadcast_shapes(*shapes: torch.Size) -> torch.Size:
    """Return the joint shape, or raise torch's ``RuntimeError``."""
    try:
        return _joint_shape(shapes)
    except TypeError:  # sizes that stand for any number, while a program is captured, have no hash
        return torch.broadcast_shapes(*shapes)  # type: ignore[no-any-return, no-untyped-call]  # torch leaves it untyped


@lru_cache(maxsize=4096)
def _joint_shape(shapes: tuple[torch.Size, ...]) -> torch.Size:
    # Torch's own imports sympy at its first call, half a second: it is left to say what does not fit.
    joint = [1] * max(map(len, shapes), default=0)
    for shape in shapes:
        for at in range(-len(shape), 0):
            size = shape[at]
            if size not in (1, joint[at]):
                if joint[at] != 1:
                    return torch.broadcast_shapes(*shapes)  # type: ignore[no-any-return, no-untyped-call]  # as above
                joint[at] = size
    return torch.Size(joint)
