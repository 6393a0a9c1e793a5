"""Several steps in one package."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_unflatten

from aleator.infer.step import Step
from aleator_jit_estimators.background import Building
from aleator_jit_estimators.layouts import Layout
from aleator_jit_estimators.making import Call, Maker, Program

__all__ = ["Loop"]

# A step costs microseconds in either form, a build takes half a minute of another core: short runs do without.
_WORTHWHILE = 10_000
_MOST_STEPS = 10
_MOST_NODES = 1_500


@final
class Loop:
    """A package of several steps for runs that are long enough, made in the background.

    Args:
        maker: makes code.
        step: the step as it is.
        call: a call of it.
        count: how many of the call's tensors are the state's.

    Attributes:
        steps: how many steps the package holds.
        program: the package, once it is there.
    """

    def __init__(self, maker: Maker, step: Step, call: Call, count: int) -> None:
        self._maker = maker
        self._step = step
        self._call = call
        self._count = count
        self._asked = 0
        self._building: Building | None = None
        self._is_given_up = False
        self.steps = 1
        self.program: Program | None = None

    @staticmethod
    def fits(call: Call, count: int) -> bool:
        """Tell whether a state is small enough for its tensors' handling to matter beside the calculation."""
        return Layout.of(call.tensors[:count]) is not None

    def is_ready(self, steps: int, inside: Callable[[], Any]) -> bool:
        """Count a run of so many steps, and tell whether the package serves it; begins to make it where that pays.

        Args:
            steps: how many.
            inside: makes the context in which the step is recorded.
        """
        if self.program is not None:
            return steps >= self.steps
        self._asked += steps
        if self._building is not None:
            made = self._maker.advance(self._building, is_extra=True)
        elif self._asked < _WORTHWHILE or self._is_given_up:
            return False
        else:
            with inside():
                made = self._begun()
        self._building = made if isinstance(made, Building) else None
        self.program = made if isinstance(made, Program) else None
        self._is_given_up = made is None
        return self.program is not None and steps >= self.steps

    def _begun(self) -> Program | Building | None:
        inputs = self._call.tensors
        nodes = self._maker.size(self._several(1), inputs, self._call.reached)
        self.steps = max(1, min(_MOST_STEPS, _MOST_NODES // max(nodes, 1)))
        return self._maker.begin(self._several(self.steps), inputs, self._call.reached)

    def _several(self, steps: int) -> Callable[..., tuple[Tensor, ...]]:
        is_tensor = [isinstance(leaf, Tensor) for leaf in self._call.leaves]

        def several(*tensors: Tensor) -> tuple[Tensor, ...]:
            leaves, rest, losses = list(tensors[: self._count]), tensors[self._count :], []
            for _ in range(steps):
                given = iter([*leaves, *rest])
                every = [next(given) if of else leaf for of, leaf in zip(is_tensor, self._call.leaves, strict=True)]
                *state, loss = self._step(*tree_unflatten(every, self._call.structure))
                leaves = tree_leaves(state)
                losses.append(loss)
            return (*leaves, torch.stack(losses))

        return several
