"""Ten thousand importance samples of eight schools from a fixed guide: a whole posterior beside weights alone."""

from __future__ import annotations

import math

import torch

from bench.cases.eight_schools import EFFECTS, ERRORS
from bench.contract import Case, Program

__all__ = ["CASE", "SAMPLES"]

SAMPLES = 10_000


def in_aleator(validate: bool) -> Program:
    """``Importance``: draws, weights and log-likelihoods by site, compared with a loop and judged by k-hat."""
    import aleator
    import aleator.distributions as dist
    from aleator.infer import Importance

    effects, errors = torch.tensor(EFFECTS), torch.tensor(ERRORS)

    def model() -> None:
        mu = aleator.sample("mu", dist.Normal(0.0, 5.0))
        tau = aleator.sample("tau", dist.HalfCauchy(5.0))
        with aleator.plate("schools", 8):
            eta = aleator.sample("eta", dist.Normal(0.0, 1.0))
            aleator.sample("effect", dist.Normal(mu + tau * eta, errors), obs=effects)

    def guide() -> None:
        aleator.sample("mu", dist.Normal(4.4, 3.3))
        aleator.sample("tau", dist.LogNormal(0.9, 1.0))
        with aleator.plate("schools", 8):
            aleator.sample("eta", dist.Normal(0.1, 1.0))

    aleator.enable_validation(validate)
    posterior = Importance(model, guide, SAMPLES, progress=False)
    return Program(
        run=posterior.run,
        reading=lambda: float(posterior.run().get_log_normalizer()),
        reseed=aleator.set_rng_seed,
    )


def in_pyro(validate: bool) -> Program:
    """Pyro's ``vectorized_importance_weights``: weights, and the two traces they come from."""
    import pyro
    import pyro.distributions as dist
    from pyro.infer.importance import vectorized_importance_weights

    effects, errors = torch.tensor(EFFECTS), torch.tensor(ERRORS)

    def model() -> None:
        mu = pyro.sample("mu", dist.Normal(0.0, 5.0))
        tau = pyro.sample("tau", dist.HalfCauchy(5.0))
        with pyro.plate("schools", 8):
            eta = pyro.sample("eta", dist.Normal(0.0, 1.0))
            pyro.sample("effect", dist.Normal(mu + tau * eta, errors), obs=effects)

    def guide() -> None:
        pyro.sample("mu", dist.Normal(4.4, 3.3))
        pyro.sample("tau", dist.LogNormal(0.9, 1.0))
        with pyro.plate("schools", 8):
            pyro.sample("eta", dist.Normal(0.1, 1.0))

    pyro.enable_validation(validate)

    def run() -> torch.Tensor:
        weights: torch.Tensor = vectorized_importance_weights(model, guide, num_samples=SAMPLES, max_plate_nesting=1)[0]
        return weights

    return Program(
        run=run,
        reading=lambda: float(torch.logsumexp(run(), 0)) - math.log(SAMPLES),
        reseed=pyro.set_rng_seed,
    )


CASE = Case(
    "importance_sampling",
    "eight schools, 10,000 importance samples",
    {"aleator": in_aleator, "pyro": in_pyro},
    unit="posterior",
    mark=1.0,
    # The libraries draw in another order: estimates of one log evidence, -31.3, whose standard error is 0.014.
    tolerance=3e-3,
    steps_compared=5,
)
