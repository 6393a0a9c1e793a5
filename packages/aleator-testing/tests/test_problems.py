"""The problems' truth, by another way than the one that made it."""

from __future__ import annotations

import math

import pytest
import torch

from aleator_testing.problems import problems
from aleator_testing.problems.conjugate import conjugate_pairs
from aleator_testing.problems.formulas import log_bernoulli, log_normal, reduce_particles
from aleator_testing.problems.problem import START


@pytest.mark.parametrize("pair", conjugate_pairs(), ids=lambda pair: pair.name)
def test_the_bound_touches_the_evidence_at_the_posterior_and_nowhere_else(pair):
    truth = pair.truth(pair.posterior)
    assert truth.loss.item() == pytest.approx(-pair.evidence, abs=1e-10)
    assert truth.gradient.abs().max().item() < 1e-10
    assert pair.truth(pair.start).loss.item() > -pair.evidence + 0.01


def test_evidence_by_quadrature():
    """The evidence of the continuous pairs is the integral of prior times likelihood."""
    pairs = {pair.name: pair for pair in conjugate_pairs()}
    grid = torch.linspace(-8.0, 8.0, 20001, dtype=torch.float64)
    data = torch.tensor([0.9, 1.6, 0.4, 1.3], dtype=torch.float64)
    joint = log_normal(grid, 0.0, 1.0) + log_normal(data[:, None], grid, 1.0).sum(0)
    assert torch.trapezoid(joint.exp(), grid).log().item() == pytest.approx(pairs["normal-normal"].evidence, abs=1e-8)
    rate = torch.linspace(1e-9, 40.0, 200001, dtype=torch.float64)
    likelihood = sum(count * rate.log() - rate - math.lgamma(count + 1.0) for count in (2.0, 4.0, 3.0))
    joint = rate.log() - rate + likelihood
    assert torch.trapezoid(joint.exp(), rate).log().item() == pytest.approx(pairs["gamma-poisson"].evidence, abs=1e-6)


def test_formulas_equal_torch():
    value = torch.tensor([0.0, 1.0], dtype=torch.float64)
    logits, normal = torch.tensor(0.3, dtype=torch.float64), torch.distributions.Normal(0.2, 1.5)
    torch.testing.assert_close(
        log_bernoulli(value, logits), torch.distributions.Bernoulli(logits=logits).log_prob(value)
    )
    torch.testing.assert_close(log_normal(value, 0.2, 1.5), normal.log_prob(value), check_dtype=False)


def test_bounds_order_on_any_weights():
    weights = torch.tensor([[0.3, -1.0], [2.0, 0.5], [-0.7, 0.1]], dtype=torch.float64)
    elbo, iwae = reduce_particles(weights, "elbo"), reduce_particles(weights, "iwae")
    between = reduce_particles(weights, "renyi", 0.5)
    assert bool(((elbo < between) & (between < iwae)).all())
    torch.testing.assert_close(reduce_particles(weights, "renyi", 0.0), iwae)


@pytest.mark.parametrize("name", ["single-normal", "chain-bernoulli-normal", "plate-bernoulli", "enumerated-model"])
def test_gradients_equal_difference_quotients(name):
    problem, start = problems()[name], torch.tensor(START, dtype=torch.float64)
    truth = problem.truth()
    for index in range(len(START)):
        shift = torch.zeros_like(start)
        shift[index] = 1e-5
        quotient = (problem.loss(start + shift) - problem.loss(start - shift)) / 2e-5
        assert truth.gradient[index].item() == pytest.approx(quotient.item(), abs=1e-8)


def test_two_particles_of_a_mean_are_one():
    problem, start = problems()["single-bernoulli"], torch.tensor(START, dtype=torch.float64)
    torch.testing.assert_close(problem.loss(start, particles=2), problem.loss(start))
