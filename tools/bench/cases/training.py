"""How the cases that train set their library up: validation, empty store, ``SVI`` with Adam and an estimator."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from bench.contract import Program

__all__ = ["HALF_LOG_TWO_PI", "in_aleator", "in_pyro", "in_torch"]

HALF_LOG_TWO_PI = 0.5 * math.log(2 * math.pi)


def in_aleator(
    model: Callable[..., object], guide: Callable[..., object], lr: float, validate: bool, estimator: object = None
) -> Program:
    """The eager training step of Aleator, with ``Trace_ELBO`` where no estimator is given."""
    import aleator
    from aleator.infer import SVI, Trace_ELBO
    from aleator.optim import Adam

    aleator.enable_validation(validate)
    aleator.clear_param_store()
    svi = SVI(model, guide, Adam({"lr": lr}), loss=estimator or Trace_ELBO())
    return Program(run=svi.step, reading=svi.step, reseed=aleator.set_rng_seed)


def in_pyro(
    model: Callable[..., object], guide: Callable[..., object], lr: float, validate: bool, estimator: object = None
) -> Program:
    """The eager training step of Pyro, with ``Trace_ELBO`` where no estimator is given."""
    import pyro
    from pyro.infer import SVI, Trace_ELBO
    from pyro.optim import Adam

    pyro.enable_validation(validate)
    pyro.clear_param_store()
    svi = SVI(model, guide, Adam({"lr": lr}), loss=estimator or Trace_ELBO())
    return Program(run=svi.step, reading=svi.step, reseed=pyro.set_rng_seed)


def in_torch(loss: Callable[[], Tensor], leaves: Sequence[Tensor], lr: float) -> Program:
    """The same step written out: draws, formulas and fused Adam, no language. What an eager step cannot go below."""
    optimizer = torch.optim.Adam(leaves, lr=lr, fused=True)

    def step() -> float:
        value = loss()
        value.backward()
        optimizer.step()
        optimizer.zero_grad()
        return float(value.detach())

    return Program(run=step, reading=step, reseed=_reseed_torch)


def _reseed_torch(seed: int) -> None:
    torch.manual_seed(seed)  # noqa: TID251 - this worker has no library whose seeding could be called
