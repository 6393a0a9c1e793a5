"""The external estimator: found by name, right by enumeration, trained."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from aleator_example_elbo import VRMax

import aleator
import aleator.distributions as dist
from aleator import infer
from aleator.handlers import Messenger
from aleator.infer import SVI
from aleator.optim import Adam


def model(logit=None):
    z = aleator.sample("z", dist.Bernoulli(torch.tensor(0.3).double()))
    aleator.sample("x", dist.Normal(2.0 * z, torch.ones(()).double()), obs=torch.tensor(1.2).double())


def guide(logit):
    aleator.sample("z", dist.Bernoulli(logits=logit))


class Forced(Messenger):
    """Gives successive runs of the guide the given values."""

    def __init__(self, values):
        self._values = iter(values)

    def process_sample(self, site):
        if site.name == "z" and site.value is None:
            site.value = torch.tensor(next(self._values)).double()


def test_found_by_name():
    assert infer.get_estimator("example/VRMax") is VRMax
    assert infer.is_available("example/VRMax")


def test_gradient_equals_that_of_the_enumerated_bound():
    """Catches a score on the chosen particle alone: the choice itself depends on all of them."""
    logit = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    q = torch.sigmoid(logit)
    log_q = {0.0: torch.log1p(-q), 1.0: q.log()}
    log_joint = {
        z: torch.tensor(math.log(0.3 if z else 0.7) - 0.5 * (1.2 - 2.0 * z) ** 2 - 0.5 * math.log(2 * math.pi)).double()
        for z in log_q
    }
    truth, gradient = torch.zeros(()).double(), torch.zeros(()).double()
    for draws in itertools.product((0.0, 1.0), repeat=2):
        weights = torch.stack([log_joint[z] - log_q[z] for z in draws])
        probability = torch.stack([log_q[z] for z in draws]).sum().exp()
        truth = truth + probability * weights.max()
        with Forced(draws):
            surrogate = VRMax(num_particles=2).estimate(model, guide, logit).surrogate
        gradient -= probability.detach() * torch.autograd.grad(surrogate, logit)[0]
    assert gradient.item() == pytest.approx(torch.autograd.grad(truth, logit)[0].item(), abs=1e-6)


def test_trains_by_name():
    """Fails at 0 steps: the guide begins three deviations away."""

    def normal_model():
        aleator.sample("z", dist.Normal(3.0, 1.0))

    def normal_guide():
        aleator.sample("z", dist.Normal(aleator.param("loc", torch.tensor(0.0)), 1.0))

    with aleator.ParamStore() as store:
        svi = SVI(normal_model, normal_guide, Adam(lr=0.05), "example/VRMax", num_steps=300, rng=0, progress=False)
        svi.run()
        assert abs(store["loc"].item() - 3.0) < 0.3
