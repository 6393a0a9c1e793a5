"""The unreliable scale: one latent weight, one measurement, a guide of two parameters."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bench.cases import training
from bench.contract import Case, Program

__all__ = ["CASE"]

GUESS, MEASURED = 8.5, 9.5


def in_aleator(validate: bool) -> Program:
    """The model and guide in Aleator."""
    import aleator
    import aleator.distributions as dist
    from aleator.distributions import constraints

    measured = torch.tensor(MEASURED)

    def model() -> None:
        weight = aleator.sample("weight", dist.Normal(GUESS, 1.0))
        aleator.sample("measurement", dist.Normal(weight, 0.75), obs=measured)

    def guide() -> None:
        a = aleator.param("a", torch.tensor(GUESS))
        b = aleator.param("b", torch.tensor(1.0), constraint=constraints.positive)
        aleator.sample("weight", dist.Normal(a, b))

    return training.in_aleator(model, guide, 0.003, validate)


def in_pyro(validate: bool) -> Program:
    """The model and guide in Pyro."""
    import pyro
    import pyro.distributions as dist
    from pyro.distributions import constraints

    measured = torch.tensor(MEASURED)

    def model() -> None:
        weight = pyro.sample("weight", dist.Normal(GUESS, 1.0))
        pyro.sample("measurement", dist.Normal(weight, 0.75), obs=measured)

    def guide() -> None:
        a = pyro.param("a", torch.tensor(GUESS))
        b = pyro.param("b", torch.tensor(1.0), constraint=constraints.positive)
        pyro.sample("weight", dist.Normal(a, b))

    return training.in_pyro(model, guide, 0.003, validate)


def in_torch(_validate: bool) -> Program:
    """The step written out."""
    measured = torch.tensor(MEASURED)
    a = torch.tensor(GUESS, requires_grad=True)
    log_b = torch.tensor(0.0, requires_grad=True)

    def loss() -> Tensor:
        noise = torch.randn(())
        weight = a + log_b.exp() * noise
        log_p = -0.5 * ((weight - GUESS) ** 2 + ((measured - weight) / 0.75) ** 2) - math.log(0.75)
        log_q = -0.5 * noise**2 - log_b
        return log_q - log_p + training.HALF_LOG_TWO_PI

    return training.in_torch(loss, [a, log_b], 0.003)


CASE = Case("weighing", "weighing", {"aleator": in_aleator, "pyro": in_pyro, "torch": in_torch}, mark=0.5)
