"""A user's training script: with the plugins installed, names of `aleator.infer` have their full types."""

from __future__ import annotations

from typing import assert_type

import torch
from torch import Tensor

import aleator
import aleator.distributions as dist
from aleator import infer
from aleator.distributions import constraints
from aleator.infer import SVI, Trace_ELBO
from aleator.optim import Adam
from aleator_svi_elbo import Trace_ELBO as DirectTraceELBO


def model(guess: Tensor) -> None:
    weight = aleator.sample("weight", dist.Normal(guess, 1.0))
    aleator.sample("measurement", dist.Normal(weight, 0.75), obs=torch.tensor(9.5))


def guide(guess: Tensor) -> None:
    a = aleator.param("a", guess)
    b = aleator.param("b", torch.tensor(1.0), constraint=constraints.positive)
    with aleator.plate("one", 1):
        pass
    aleator.sample("weight", dist.Normal(a, b))


svi = SVI(model, guide, Adam({"lr": 0.003}), loss=Trace_ELBO(num_particles=2))
assert_type(svi.step(torch.tensor(8.5)), float)
assert_type(svi.evaluate_loss(torch.tensor(8.5)), float)
assert_type(Trace_ELBO(), DirectTraceELBO)
assert_type(Trace_ELBO().differentiable_loss(model, guide, torch.tensor(8.5)), Tensor)
assert_type(aleator.get_param_store(), aleator.ParamStore)

Trace_ELBO(num_particle=2)  # type: ignore[call-arg]  # a misspelt keyword is found
infer.Trace_ELBOW  # type: ignore[attr-defined]  # noqa: B018  # a misspelt name is found
SVI(model, guide)  # type: ignore[call-arg]  # the optimizer and the loss are required
