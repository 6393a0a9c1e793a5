"""The state of a functional run, and the randomness that it carries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from aleator.optim import OptimizerState
from aleator.randomness import RandomSource, rng

__all__ = ["SVIState", "with_randomness"]

R = TypeVar("R")


class SVIState(NamedTuple):
    """All that a functional run remembers: a pytree of tensors.

    Attributes:
        params: unconstrained values by name.
        optim_state: what the optimizer remembers.
        buffers: tensors of the run that are not optimized, by name.
        rng: the state of the run's generators by device, byte tensors.
    """

    params: dict[str, Tensor]
    optim_state: OptimizerState
    buffers: dict[str, Tensor]
    rng: dict[str, Tensor]


def with_randomness(state: dict[str, Tensor], draw: Callable[[], R]) -> tuple[R, dict[str, Tensor]]:
    """Return what a function gives that draws from a stored state of generators, and their state after it.

    Under ``vmap`` over states, the lanes draw from one stream that is seeded by a draw from every lane's own, and each
    lane's own moves on by that draw.
    """
    lanes = {device: _lanes(stored) for device, stored in state.items()}
    if all(found is None for found in lanes.values()):
        source = RandomSource.from_state(state)
        with rng(source):
            result = draw()
        return result, source.get_state()
    found = lanes["cpu"]
    if found is None or len(lanes) > 1:
        raise ValueError("vmap over states of SVI maps the randomness of all devices or of none, and on the CPU only")
    level, states = found
    sources = [RandomSource.from_state({"cpu": lane}) for lane in states]
    with torch._C._DisableFuncTorch():
        seeds = [torch.randint(2**62, (), generator=source.generator()).item() for source in sources]
        after = torch.stack([source.get_state()["cpu"] for source in sources])
    with rng(int(sum(seeds)) % 2**62):
        result = draw()
    return result, {"cpu": torch._C._functorch._add_batch_dim(after, 0, level)}


def _lanes(stored: Tensor) -> tuple[int, list[Tensor]] | None:
    """Return the level of the ``vmap`` that maps a state of a generator, and every lane's; ``None`` where none does."""
    functorch: Any = torch._C._functorch
    if not functorch.is_batchedtensor(stored):
        return None
    level = functorch.maybe_get_level(stored)
    states = functorch.get_unwrapped(stored).movedim(functorch.maybe_get_bdim(stored), 0)
    if functorch.is_batchedtensor(states):
        raise ValueError("vmap over states of SVI cannot be nested; flatten the restarts into one dim")
    with torch._C._DisableFuncTorch():
        return level, [lane.clone() for lane in states.unbind()]
