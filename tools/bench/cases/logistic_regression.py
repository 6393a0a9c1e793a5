"""Logistic regression, 1000 rows by 20 columns, all rows in each step, with a mean-field guide of four parameters."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bench.cases import training
from bench.contract import Case, Program

__all__ = ["CASE"]

ROWS, COLUMNS = 1000, 20


def data() -> tuple[Tensor, Tensor]:
    """The same made-up rows and labels in every process, without touching the process's random numbers."""
    source = torch.Generator().manual_seed(20)
    rows = torch.randn(ROWS, COLUMNS, generator=source)
    weights = torch.randn(COLUMNS, generator=source)
    labels = torch.bernoulli(torch.sigmoid(rows @ weights - 0.5), generator=source)
    return rows, labels


def in_aleator(validate: bool) -> Program:
    """The model and guide in Aleator."""
    import aleator
    import aleator.distributions as dist
    from aleator.distributions import constraints

    rows, labels = data()

    def model() -> None:
        weights = aleator.sample("weights", dist.Normal(torch.zeros(COLUMNS), 1.0).to_event(1))
        intercept = aleator.sample("intercept", dist.Normal(0.0, 1.0))
        with aleator.plate("rows", ROWS):
            aleator.sample("label", dist.Bernoulli(logits=rows @ weights + intercept), obs=labels)

    def guide() -> None:
        weights_loc = aleator.param("weights_loc", torch.zeros(COLUMNS))
        weights_scale = aleator.param("weights_scale", torch.full((COLUMNS,), 0.1), constraint=constraints.positive)
        intercept_loc = aleator.param("intercept_loc", torch.tensor(0.0))
        intercept_scale = aleator.param("intercept_scale", torch.tensor(0.1), constraint=constraints.positive)
        aleator.sample("weights", dist.Normal(weights_loc, weights_scale).to_event(1))
        aleator.sample("intercept", dist.Normal(intercept_loc, intercept_scale))

    return training.in_aleator(model, guide, 0.01, validate)


def in_pyro(validate: bool) -> Program:
    """The model and guide in Pyro."""
    import pyro
    import pyro.distributions as dist
    from pyro.distributions import constraints

    rows, labels = data()

    def model() -> None:
        weights = pyro.sample("weights", dist.Normal(torch.zeros(COLUMNS), 1.0).to_event(1))
        intercept = pyro.sample("intercept", dist.Normal(0.0, 1.0))
        with pyro.plate("rows", ROWS):
            pyro.sample("label", dist.Bernoulli(logits=rows @ weights + intercept), obs=labels)

    def guide() -> None:
        weights_loc = pyro.param("weights_loc", torch.zeros(COLUMNS))
        weights_scale = pyro.param("weights_scale", torch.full((COLUMNS,), 0.1), constraint=constraints.positive)
        intercept_loc = pyro.param("intercept_loc", torch.tensor(0.0))
        intercept_scale = pyro.param("intercept_scale", torch.tensor(0.1), constraint=constraints.positive)
        pyro.sample("weights", dist.Normal(weights_loc, weights_scale).to_event(1))
        pyro.sample("intercept", dist.Normal(intercept_loc, intercept_scale))

    return training.in_pyro(model, guide, 0.01, validate)


def in_torch(_validate: bool) -> Program:
    """The step written out."""
    rows, labels = data()
    shapes_and_values = (((COLUMNS,), 0.0), ((COLUMNS,), math.log(0.1)), ((), 0.0), ((), math.log(0.1)))
    leaves = [torch.full(shape, value, requires_grad=True) for shape, value in shapes_and_values]
    weights_loc, weights_log_scale, intercept_loc, intercept_log_scale = leaves

    def loss() -> Tensor:
        weights_noise, intercept_noise = torch.randn(COLUMNS), torch.randn(())
        weights = weights_loc + weights_log_scale.exp() * weights_noise
        intercept = intercept_loc + intercept_log_scale.exp() * intercept_noise
        log_p = -0.5 * (weights.square().sum() + intercept**2)
        logits = rows @ weights + intercept
        log_p = log_p - torch.nn.functional.binary_cross_entropy_with_logits(logits, labels, reduction="sum")
        log_q = -0.5 * (weights_noise.square().sum() + intercept_noise**2)
        log_q = log_q - weights_log_scale.sum() - intercept_log_scale
        return log_q - log_p

    return training.in_torch(loss, leaves, 0.01)


CASE = Case(
    "logistic_regression",
    f"logistic regression {ROWS} x {COLUMNS}",
    {"aleator": in_aleator, "pyro": in_pyro, "torch": in_torch},
    mark=0.5,
)
