"""A chain of ten hidden bits with an observation each, a guide that is a chain too, and decaying average baselines."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.cases import training
from bench.contract import Case, Program

__all__ = ["CASE"]

LENGTH = 10
OBSERVED = (1.2, 0.7, -0.9, -1.4, 0.3, 1.1, 1.6, -0.2, -1.0, 0.8)


def in_aleator(validate: bool) -> Program:
    """The model and guide in Aleator."""
    import aleator
    import aleator.distributions as dist
    from aleator.infer import TraceGraph_ELBO

    observed = torch.tensor(OBSERVED)
    average = {"baseline": {"use_decaying_avg_baseline": True}}

    def model() -> None:
        z: Tensor | float = 0.5
        for t in range(LENGTH):
            z = aleator.sample(f"z_{t}", dist.Bernoulli(logits=torch.as_tensor(2.0 * z - 1.0)))
            aleator.sample(f"x_{t}", dist.Normal(2.0 * z - 1.0, 1.0), obs=observed[t])

    def guide() -> None:
        offset = aleator.param("offset", torch.zeros(LENGTH))
        slope = aleator.param("slope", torch.zeros(LENGTH))
        z: Tensor | float = 0.5
        for t in range(LENGTH):
            z = aleator.sample(f"z_{t}", dist.Bernoulli(logits=offset[t] + slope[t] * z), infer=dict(average))

    return training.in_aleator(model, guide, 0.01, validate, TraceGraph_ELBO())


def in_pyro(validate: bool) -> Program:
    """The model and guide in Pyro."""
    import pyro
    import pyro.distributions as dist
    from pyro.infer import TraceGraph_ELBO

    observed = torch.tensor(OBSERVED)
    average = {"baseline": {"use_decaying_avg_baseline": True}}

    def model() -> None:
        z: Tensor | float = 0.5
        for t in range(LENGTH):
            z = pyro.sample(f"z_{t}", dist.Bernoulli(logits=torch.as_tensor(2.0 * z - 1.0)))
            pyro.sample(f"x_{t}", dist.Normal(2.0 * z - 1.0, 1.0), obs=observed[t])

    def guide() -> None:
        offset = pyro.param("offset", torch.zeros(LENGTH))
        slope = pyro.param("slope", torch.zeros(LENGTH))
        z: Tensor | float = 0.5
        for t in range(LENGTH):
            z = pyro.sample(f"z_{t}", dist.Bernoulli(logits=offset[t] + slope[t] * z), infer=dict(average))

    return training.in_pyro(model, guide, 0.01, validate, TraceGraph_ELBO())


CASE = Case(
    "bernoulli_chain",
    f"chain of {LENGTH} bits, `TraceGraph_ELBO` with decaying averages",
    {"aleator": in_aleator, "pyro": in_pyro},
    mark=0.5,
)
