"""Eight schools, non-centred, with a hand-written mean-field guide of six parameters."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bench.cases import training
from bench.contract import Case, Program

__all__ = ["CASE"]

EFFECTS = (28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0)
ERRORS = (15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0)


def in_aleator(validate: bool) -> Program:
    """The model and guide in Aleator."""
    import aleator
    import aleator.distributions as dist
    from aleator.distributions import constraints

    effects, errors = torch.tensor(EFFECTS), torch.tensor(ERRORS)

    def model() -> None:
        mu = aleator.sample("mu", dist.Normal(0.0, 5.0))
        tau = aleator.sample("tau", dist.HalfCauchy(5.0))
        with aleator.plate("schools", 8):
            eta = aleator.sample("eta", dist.Normal(0.0, 1.0))
            aleator.sample("effect", dist.Normal(mu + tau * eta, errors), obs=effects)

    def guide() -> None:
        mu_loc = aleator.param("mu_loc", torch.tensor(0.0))
        mu_scale = aleator.param("mu_scale", torch.tensor(1.0), constraint=constraints.positive)
        tau_loc = aleator.param("tau_loc", torch.tensor(0.0))
        tau_scale = aleator.param("tau_scale", torch.tensor(1.0), constraint=constraints.positive)
        eta_loc = aleator.param("eta_loc", torch.zeros(8))
        eta_scale = aleator.param("eta_scale", torch.ones(8), constraint=constraints.positive)
        aleator.sample("mu", dist.Normal(mu_loc, mu_scale))
        aleator.sample("tau", dist.LogNormal(tau_loc, tau_scale))
        with aleator.plate("schools", 8):
            aleator.sample("eta", dist.Normal(eta_loc, eta_scale))

    return training.in_aleator(model, guide, 0.01, validate)


def in_pyro(validate: bool) -> Program:
    """The model and guide in Pyro."""
    import pyro
    import pyro.distributions as dist
    from pyro.distributions import constraints

    effects, errors = torch.tensor(EFFECTS), torch.tensor(ERRORS)

    def model() -> None:
        mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
        tau = pyro.sample("tau", dist.HalfCauchy(5.0))
        with pyro.plate("schools", 8):
            eta = pyro.sample("eta", dist.Normal(0.0, 1.0))
            pyro.sample("effect", dist.Normal(mu + tau * eta, errors), obs=effects)

    def guide() -> None:
        mu_loc = pyro.param("mu_loc", torch.tensor(0.0))
        mu_scale = pyro.param("mu_scale", torch.tensor(1.0), constraint=constraints.positive)
        tau_loc = pyro.param("tau_loc", torch.tensor(0.0))
        tau_scale = pyro.param("tau_scale", torch.tensor(1.0), constraint=constraints.positive)
        eta_loc = pyro.param("eta_loc", torch.zeros(8))
        eta_scale = pyro.param("eta_scale", torch.ones(8), constraint=constraints.positive)
        pyro.sample("mu", dist.Normal(mu_loc, mu_scale))
        pyro.sample("tau", dist.LogNormal(tau_loc, tau_scale))
        with pyro.plate("schools", 8):
            pyro.sample("eta", dist.Normal(eta_loc, eta_scale))

    return training.in_pyro(model, guide, 0.01, validate)


def in_torch(_validate: bool) -> Program:
    """The step written out."""
    effects, errors = torch.tensor(EFFECTS), torch.tensor(ERRORS)
    log_errors = errors.log().sum()
    leaves = [torch.zeros(shape, requires_grad=True) for shape in ((), (), (), (), (8,), (8,))]
    mu_loc, mu_log_scale, tau_loc, tau_log_scale, eta_loc, eta_log_scale = leaves

    def loss() -> Tensor:
        mu_noise, tau_noise, eta_noise = torch.randn(()), torch.randn(()), torch.randn(8)
        mu = mu_loc + mu_log_scale.exp() * mu_noise
        log_tau = tau_loc + tau_log_scale.exp() * tau_noise
        tau = log_tau.exp()
        eta = eta_loc + eta_log_scale.exp() * eta_noise
        log_p = -0.5 * (mu / 5.0) ** 2 - torch.log1p((tau / 5.0) ** 2)
        log_p = log_p - 0.5 * (eta.square().sum() + ((effects - mu - tau * eta) / errors).square().sum()) - log_errors
        log_q = -0.5 * (mu_noise**2 + tau_noise**2 + eta_noise.square().sum())
        log_q = log_q - mu_log_scale - tau_log_scale - log_tau - eta_log_scale.sum()
        return log_q - log_p + CONSTANT

    return training.in_torch(loss, leaves, 0.01)


# log(5) of mu's prior, the half Cauchy's log(5 pi / 2), and the normal constants that do not cancel
CONSTANT = math.log(5.0) + math.log(5.0 * math.pi / 2) + (17 - 10) * training.HALF_LOG_TWO_PI

CASE = Case(
    "eight_schools",
    "eight schools, non-centred",
    {"aleator": in_aleator, "pyro": in_pyro, "torch": in_torch},
    mark=0.5,
)
