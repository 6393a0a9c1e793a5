"""Eight schools, non-centred, with a normal prior on the log scale: three divergences in closed form per step."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from bench.cases import training
from bench.cases.eight_schools import EFFECTS, ERRORS
from bench.contract import Case, Program

__all__ = ["CASE"]


def in_aleator(validate: bool) -> Program:
    """The model and guide in Aleator."""
    import aleator
    import aleator.distributions as dist
    from aleator.distributions import constraints
    from aleator.infer import TraceMeanField_ELBO

    effects, errors = torch.tensor(EFFECTS), torch.tensor(ERRORS)

    def model() -> None:
        mu = aleator.sample("mu", dist.Normal(0.0, 5.0))
        log_tau = aleator.sample("log_tau", dist.Normal(0.0, 1.0))
        with aleator.plate("schools", 8):
            eta = aleator.sample("eta", dist.Normal(0.0, 1.0))
            aleator.sample("effect", dist.Normal(mu + log_tau.exp() * eta, errors), obs=effects)

    def guide() -> None:
        mu_loc = aleator.param("mu_loc", torch.tensor(0.0))
        mu_scale = aleator.param("mu_scale", torch.tensor(1.0), constraint=constraints.positive)
        tau_loc = aleator.param("tau_loc", torch.tensor(0.0))
        tau_scale = aleator.param("tau_scale", torch.tensor(1.0), constraint=constraints.positive)
        eta_loc = aleator.param("eta_loc", torch.zeros(8))
        eta_scale = aleator.param("eta_scale", torch.ones(8), constraint=constraints.positive)
        aleator.sample("mu", dist.Normal(mu_loc, mu_scale))
        aleator.sample("log_tau", dist.Normal(tau_loc, tau_scale))
        with aleator.plate("schools", 8):
            aleator.sample("eta", dist.Normal(eta_loc, eta_scale))

    return training.in_aleator(model, guide, 0.01, validate, TraceMeanField_ELBO())


def in_pyro(validate: bool) -> Program:
    """The model and guide in Pyro."""
    import pyro
    import pyro.distributions as dist
    from pyro.distributions import constraints
    from pyro.infer import TraceMeanField_ELBO

    effects, errors = torch.tensor(EFFECTS), torch.tensor(ERRORS)

    def model() -> None:
        mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
        log_tau = pyro.sample("log_tau", dist.Normal(0.0, 1.0))
        with pyro.plate("schools", 8):
            eta = pyro.sample("eta", dist.Normal(0.0, 1.0))
            pyro.sample("effect", dist.Normal(mu + log_tau.exp() * eta, errors), obs=effects)

    def guide() -> None:
        mu_loc = pyro.param("mu_loc", torch.tensor(0.0))
        mu_scale = pyro.param("mu_scale", torch.tensor(1.0), constraint=constraints.positive)
        tau_loc = pyro.param("tau_loc", torch.tensor(0.0))
        tau_scale = pyro.param("tau_scale", torch.tensor(1.0), constraint=constraints.positive)
        eta_loc = pyro.param("eta_loc", torch.zeros(8))
        eta_scale = pyro.param("eta_scale", torch.ones(8), constraint=constraints.positive)
        pyro.sample("mu", dist.Normal(mu_loc, mu_scale))
        pyro.sample("log_tau", dist.Normal(tau_loc, tau_scale))
        with pyro.plate("schools", 8):
            pyro.sample("eta", dist.Normal(eta_loc, eta_scale))

    return training.in_pyro(model, guide, 0.01, validate, TraceMeanField_ELBO())


def in_torch(_validate: bool) -> Program:
    """The step written out."""
    effects, errors = torch.tensor(EFFECTS), torch.tensor(ERRORS)
    log_errors = errors.log().sum()
    leaves = [torch.zeros(shape, requires_grad=True) for shape in ((), (), (), (), (8,), (8,))]
    mu_loc, mu_log_scale, tau_loc, tau_log_scale, eta_loc, eta_log_scale = leaves

    def loss() -> Tensor:
        mu_noise, tau_noise, eta_noise = torch.randn(()), torch.randn(()), torch.randn(8)
        mu = mu_loc + mu_log_scale.exp() * mu_noise
        tau = (tau_loc + tau_log_scale.exp() * tau_noise).exp()
        eta = eta_loc + eta_log_scale.exp() * eta_noise
        misfit = 0.5 * ((effects - mu - tau * eta) / errors).square().sum() + log_errors
        kl = _divergence(mu_loc, mu_log_scale, 5.0) + _divergence(tau_loc, tau_log_scale, 1.0)
        return misfit + kl + _divergence(eta_loc, eta_log_scale, 1.0).sum() + 8 * training.HALF_LOG_TWO_PI

    return training.in_torch(loss, leaves, 0.01)


def _divergence(loc: Tensor, log_scale: Tensor, prior_scale: float) -> Tensor:
    """Of a normal from one at zero."""
    spread = ((2.0 * log_scale).exp() + loc.square()) / (2.0 * prior_scale**2)
    return spread - log_scale + (math.log(prior_scale) - 0.5)


CASE = Case(
    "mean_field",
    "eight schools, divergences in closed form",
    {"aleator": in_aleator, "pyro": in_pyro, "torch": in_torch},
    mark=0.5,
)
