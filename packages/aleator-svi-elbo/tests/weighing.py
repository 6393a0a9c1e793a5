"""The unreliable scale: one latent weight, one measurement, and an exact posterior to end at."""

from __future__ import annotations

import torch

import aleator
import aleator.distributions as dist
from aleator.distributions import constraints

GUESS = torch.tensor(8.5)
MEASURED = torch.tensor(9.5)
EXACT_LOC = (8.5 + 9.5 / 0.75**2) / (1.0 + 1.0 / 0.75**2)
EXACT_SCALE = (1.0 / (1.0 + 1.0 / 0.75**2)) ** 0.5


def model(guess):
    weight = aleator.sample("weight", dist.Normal(guess, 1.0))
    return aleator.sample("measurement", dist.Normal(weight, 0.75), obs=MEASURED)


def guide(guess):
    loc = aleator.param("loc", guess)
    scale = aleator.param("scale", torch.tensor(1.0), constraint=constraints.positive)
    aleator.sample("weight", dist.Normal(loc, scale))


def values(store):
    """Copies of the unconstrained values."""
    return {name: leaf.detach().clone() for name, leaf in store.named_parameters()}
