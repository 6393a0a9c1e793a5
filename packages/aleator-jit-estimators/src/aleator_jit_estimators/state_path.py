"""From a state to the next one without taking anything apart."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import torch
from torch import Tensor

from aleator.params import ParamStore
from aleator_jit_estimators.state_shape import Look, StateShape
from aleator_svi_elbo.functional_state import SVIState

__all__ = ["AbstractStatePath"]


class AbstractStatePath(ABC):
    """A program and the state that it gave last.

    That state is known by identity, and kept in a form of the path's own: nobody makes dicts and tensors of a state
    that is only handed to the next step. Any other state of the same names and forms is taken up from its tensors.
    All that the program depends on beside the state is looked at in each call (or once for several steps); where
    anything is another one, the path declines by returning ``None``, and the step is taken apart as the first one was.

    One thread at a time is on a path; others are declined.

    Args:
        shape: what the program's states have in common.
        look: tells whether everything but the state is as it was.
    """

    __slots__ = ("_look", "_shape", "_turn")

    def __init__(self, shape: StateShape, look: Look) -> None:
        self._shape = shape
        self._look = look
        self._turn = [0]  # who takes the number out has the turn: no two threads can

    @abstractmethod
    def take(self, store: ParamStore, state: SVIState, args: Any) -> tuple[SVIState, Tensor] | None:  # noqa: ANN401  # pytrees
        """Return the state after one step and the loss; ``None`` where something is not what it was."""

    @abstractmethod
    def take_many(
        self,
        store: ParamStore,
        state: SVIState,
        args: Any,  # noqa: ANN401  # pytrees
        steps: int,
    ) -> tuple[SVIState, Tensor] | None:
        """Return the state after some steps and their losses; what a step depends on is looked at once for all."""


def generator_in(state: Tensor) -> torch.Generator:
    """Return a generator in a state."""
    generator = torch.Generator()
    generator.set_state(state)
    return generator
