"""Optimizers: frozen configurations whose state belongs to the run.

``Adam``, ``AdamW``, ``ClippedAdam``, ``SGD``, ``RMSprop`` and ``Adagrad`` have a pure form, ``init`` and ``update``
over mappings of tensors, and the same step in place on torch's fused kernels, ``update_``. Every other optimizer of
``torch.optim`` has a configuration under its own name here (``Adamax``, ``NAdam``, ``LBFGS`` ...) for eager steps.

Example:
    >>> import torch
    >>> from aleator import optim
    >>> adam = optim.Adam({"lr": 0.1}, clip_args={"clip_norm": 10.0})
    >>> params = {"loc": torch.zeros(2, requires_grad=True)}
    >>> state = adam.init(params)
    >>> adam.update_({"loc": torch.tensor([3.0, -4.0])}, state, params)
    >>> params["loc"]
    tensor([-0.1000,  0.1000], requires_grad=True)
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, TypeGuard, cast

import torch

if TYPE_CHECKING:
    from aleator.optim.adagrad import Adagrad
    from aleator.optim.adam import Adam, AdamW
    from aleator.optim.clipped_adam import ClippedAdam
    from aleator.optim.clipping import GradientClip
    from aleator.optim.combined_schedules import ChainedScheduler, SequentialLR
    from aleator.optim.conversion import as_optimizer
    from aleator.optim.cyclic_schedules import CyclicLR, OneCycleLR
    from aleator.optim.epoch_schedules import (
        ConstantLR,
        CosineAnnealingLR,
        CosineAnnealingWarmRestarts,
        ExponentialLR,
        LambdaLR,
        LinearLR,
        MultiStepLR,
        PolynomialLR,
        StepLR,
    )
    from aleator.optim.loss_schedules import MultiplicativeLR, ReduceLROnPlateau
    from aleator.optim.optimizer import Optimizer, OptimizerState
    from aleator.optim.pure_optimizer import PureOptimizer
    from aleator.optim.rmsprop import RMSprop
    from aleator.optim.schedule import EpochSchedule, Schedule
    from aleator.optim.scheduled import Scheduled
    from aleator.optim.sgd import SGD
    from aleator.optim.torch_optimizer import NamedTorchOptimizer, TorchOptimizer

__all__ = [
    "SGD",
    "Adagrad",
    "Adam",
    "AdamW",
    "ChainedScheduler",
    "ClippedAdam",
    "ConstantLR",
    "CosineAnnealingLR",
    "CosineAnnealingWarmRestarts",
    "CyclicLR",
    "EpochSchedule",
    "ExponentialLR",
    "GradientClip",
    "LambdaLR",
    "LinearLR",
    "MultiStepLR",
    "MultiplicativeLR",
    "OneCycleLR",
    "Optimizer",
    "OptimizerState",
    "PolynomialLR",
    "PureOptimizer",
    "RMSprop",
    "ReduceLROnPlateau",
    "Schedule",
    "Scheduled",
    "SequentialLR",
    "StepLR",
    "TorchOptimizer",
    "as_optimizer",
]

# Each name is imported when it is first asked for: thirty frozen dataclasses take longer to make than most programs
# need the two or three that they use.
_HOME_OF = {
    "Adagrad": "adagrad",
    "Adam": "adam",
    "AdamW": "adam",
    "ChainedScheduler": "combined_schedules",
    "ClippedAdam": "clipped_adam",
    "ConstantLR": "epoch_schedules",
    "CosineAnnealingLR": "epoch_schedules",
    "CosineAnnealingWarmRestarts": "epoch_schedules",
    "CyclicLR": "cyclic_schedules",
    "EpochSchedule": "schedule",
    "ExponentialLR": "epoch_schedules",
    "GradientClip": "clipping",
    "LambdaLR": "epoch_schedules",
    "LinearLR": "epoch_schedules",
    "MultiStepLR": "epoch_schedules",
    "MultiplicativeLR": "loss_schedules",
    "OneCycleLR": "cyclic_schedules",
    "Optimizer": "optimizer",
    "OptimizerState": "optimizer",
    "PolynomialLR": "epoch_schedules",
    "PureOptimizer": "pure_optimizer",
    "RMSprop": "rmsprop",
    "ReduceLROnPlateau": "loss_schedules",
    "SGD": "sgd",
    "Schedule": "schedule",
    "Scheduled": "scheduled",
    "SequentialLR": "combined_schedules",
    "StepLR": "epoch_schedules",
    "TorchOptimizer": "torch_optimizer",
    "as_optimizer": "conversion",
}


def _is_torch_optimizer(thing: object) -> TypeGuard[type[torch.optim.Optimizer]]:
    return isinstance(thing, type) and issubclass(thing, torch.optim.Optimizer) and thing is not torch.optim.Optimizer


def __getattr__(name: str) -> NamedTorchOptimizer:
    home = _HOME_OF.get(name)
    if home is not None:
        globals()[name] = found = getattr(import_module(f"{__name__}.{home}"), name)
        return cast("NamedTorchOptimizer", found)  # type checkers know these names; what is left are torch's
    torch_class: object = getattr(torch.optim, name, None)
    if not _is_torch_optimizer(torch_class):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from aleator.optim.torch_optimizer import NamedTorchOptimizer

    return NamedTorchOptimizer(torch_class)


def __dir__() -> list[str]:
    torch_names = (name for name, thing in vars(torch.optim).items() if _is_torch_optimizer(thing))
    return sorted({*__all__, *torch_names})
