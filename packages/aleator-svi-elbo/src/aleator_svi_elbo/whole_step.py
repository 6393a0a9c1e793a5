"""A whole step of training as one function, for a compiler to take."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple, final

import torch
from torch import Tensor

from aleator.infer import AbstractEstimator, pure_step
from aleator.infer.step import Step
from aleator.messenger import Messenger
from aleator.optim import Optimizer
from aleator.sites import Site
from aleator_svi_elbo.evaluation import Program

__all__ = ["NewParameterError", "NewParameters", "WholeStep", "whole_step"]


class NewParameterError(RuntimeError):
    """A program met a parameter that is not among a step's inputs; the step must be taken with it among them."""

    def __init__(self, name: str) -> None:
        super().__init__(f"parameter {name!r} is not among the step's inputs")


@final
class NewParameters(Messenger):
    """Refuses parameters that are not among a step's inputs: they would stay at their first values.

    Args:
        known: the inputs, by name.
    """

    def __init__(self, known: Mapping[str, Tensor]) -> None:
        self._known = known

    def process_param(self, site: Site) -> None:
        """Raise ``NewParameterError`` for a name that is not known, and that no handler inside has given a value."""
        if site.name not in self._known and site.value is None and not site.done:
            raise NewParameterError(site.name)


class WholeStep(NamedTuple):
    """A step, and what it was made of.

    Attributes:
        step: ``(params, opt_state, buffers, (args, kwargs)) -> (params, opt_state, buffers, numbers)``; ``numbers`` are
            the loss and one, or zero where a parameter has become infinite or NaN.
        origins: the estimator, the optimizer and the programs: what they lead to, the step depends on.
    """

    step: Step
    origins: tuple[Any, ...]


def whole_step(estimator: AbstractEstimator, optimizer: Optimizer, model: Program, guide: Program) -> WholeStep:
    """Return the step that ``SVI.step`` takes, as a function of the run's state.

    Raises:
        ValueError: naming the optimizer, where it has no pure form.
    """
    pure = pure_step(estimator, optimizer, partial(_called, model), partial(_called, guide))

    def step(
        params: Mapping[str, Tensor],
        opt_state: Any,  # noqa: ANN401  # each optimizer's own pytree
        buffers: Mapping[str, Tensor],
        args: tuple[Any, ...],
    ) -> tuple[dict[str, Tensor], Any, dict[str, Tensor], Tensor]:
        with NewParameters(params):
            new_params, new_state, new_buffers, loss = pure(params, opt_state, buffers, args)
        holds = [value.isfinite().all() for value in new_params.values()]
        numbers = torch.stack([loss, torch.stack(holds).all().to(loss)]) if holds else torch.stack([loss, loss * 0 + 1])
        return new_params, new_state, new_buffers, numbers

    return WholeStep(step, (estimator, optimizer, model, guide))


def _called(program: Program, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:  # noqa: ANN401  # the program's own
    return program(*args, **kwargs)
