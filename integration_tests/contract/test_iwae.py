"""First contract program: an importance-weighted bound over K particles is a ``reduce``, and nothing else.

Held to exact enumeration: the expectation over all K-tuples of guide draws of the surrogate's gradient is the gradient
of the bound's expectation. Weighing each particle's own surrogate instead fails here by several percent.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator.handlers import Messenger
from aleator.infer import ELBO, Capabilities
from aleator.ops import logsumexp

DATA = torch.tensor(0.7, dtype=torch.float64)


# [contract]
@dataclass(frozen=True, repr=False)
class IWAE(ELBO):
    """The importance-weighted bound of Burda et al. (2016), with the score of all particles on the whole bound."""

    capabilities: ClassVar[Capabilities] = Capabilities(non_reparam=True, vectorized_particles=True, bound="iwae")

    def reduce(self, terms):
        """Return log mean exp of the weights, and a surrogate with its gradient."""
        bound = logsumexp(terms.log_weight, 0) - math.log(terms.log_weight.shape[0])
        return bound, bound + terms.score.sum(0) * bound.detach()


# [contract]


@dataclass(frozen=True, repr=False)
class OwnSurrogates(ELBO):
    """A broken twin: weighs each particle's own surrogate."""

    capabilities: ClassVar[Capabilities] = Capabilities(non_reparam=True, vectorized_particles=True, bound="iwae")

    def reduce(self, terms):
        bound = logsumexp(terms.log_weight, 0) - math.log(terms.log_weight.shape[0])
        weights = torch.softmax(terms.log_weight.detach(), 0)
        return bound, (weights * terms.surrogate).sum(0)


def model(logit):
    z = aleator.sample("z", dist.Bernoulli(torch.tensor(0.3, dtype=torch.float64)))
    aleator.sample("x", dist.Normal(2.0 * z - 0.5, torch.tensor(0.8, dtype=torch.float64)), obs=DATA)


def guide(logit):
    aleator.sample("z", dist.Bernoulli(logits=logit))


class Forced(Messenger):
    """Gives the site ``z`` of successive guide runs the given values."""

    def __init__(self, values: Iterable[float]) -> None:
        self._values = iter(values)

    def process_sample(self, site) -> None:
        if site.name == "z" and site.value is None:
            site.value = torch.tensor(next(self._values), dtype=torch.float64)


def exact_bound(logit: torch.Tensor, particles: int) -> torch.Tensor:
    """The bound's expectation by enumeration, written without the library."""
    q = torch.sigmoid(logit)
    log_q = {0: torch.log1p(-q), 1: torch.log(q)}
    normal = torch.distributions.Normal(torch.tensor([-0.5, 1.5], dtype=torch.float64), 0.8)
    log_joint = torch.log(torch.tensor([0.7, 0.3], dtype=torch.float64)) + normal.log_prob(DATA)
    total = torch.zeros((), dtype=torch.float64)
    for draws in itertools.product((0, 1), repeat=particles):
        weights = torch.stack([log_joint[z] - log_q[z] for z in draws])
        probability = torch.stack([log_q[z] for z in draws]).sum().exp()
        total = total + probability * (torch.logsumexp(weights, 0) - math.log(particles))
    return total


def expected(estimator: ELBO, logit: torch.Tensor, particles: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Value and gradient of an estimator, each averaged over all tuples of draws with their probabilities."""
    q = torch.sigmoid(logit.detach())
    value, gradient = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for draws in itertools.product((0.0, 1.0), repeat=particles):
        probability = math.prod(float(q) if z else 1.0 - float(q) for z in draws)
        with Forced(draws):
            estimate = estimator.estimate(model, guide, logit)
        value -= probability * estimate.loss
        gradient -= probability * torch.autograd.grad(estimate.surrogate, logit)[0]
    return value, gradient


@pytest.mark.parametrize("particles", [1, 2, 3])
def test_bound_and_gradient_equal_enumeration(particles):
    """Catches a surrogate without the score of the whole bound, a missing log K, particles that share draws."""
    logit = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    truth = exact_bound(logit, particles)
    true_gradient = torch.autograd.grad(truth, logit)[0]
    value, gradient = expected(IWAE(num_particles=particles), logit, particles)
    assert abs(float((value - truth).detach())) < 1e-14
    assert abs(float(gradient - true_gradient)) < 1e-15 * 10


def test_weighing_own_surrogates_is_caught():
    logit = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    true_gradient = torch.autograd.grad(exact_bound(logit, 2), logit)[0]
    _, gradient = expected(OwnSurrogates(num_particles=2), logit, 2)
    assert abs(float(gradient - true_gradient)) > 1e-3


def test_vectorized_particles_have_the_same_objective():
    """All particles in one tensor dim: the same draws give the same bound and gradient as the loop."""
    logit = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)

    class ForcedRow(Messenger):
        def process_sample(self, site) -> None:
            if site.name == "z" and site.value is None:
                site.value = torch.tensor([1.0, 0.0, 1.0], dtype=torch.float64)

    with Forced([1.0, 0.0, 1.0]):
        looped = IWAE(num_particles=3).estimate(model, guide, logit)
    with ForcedRow():
        vectorized = IWAE(num_particles=3, vectorize_particles=True, max_plate_nesting=0).estimate(model, guide, logit)
    torch.testing.assert_close(vectorized.loss, looped.loss, rtol=1e-14, atol=1e-14)
    gradients = [torch.autograd.grad(estimate.surrogate, logit)[0] for estimate in (looped, vectorized)]
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-13, atol=1e-14)
