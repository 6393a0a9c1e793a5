"""The variance of the gradient on a chain of bits, with and without baselines: exact, summed over all draws."""

from __future__ import annotations

import itertools

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator.infer import SVI
from aleator.optim import Adam
from aleator_svi_elbo import Trace_ELBO, TraceGraph_ELBO
from exact_expectation import Case, D, log_bernoulli, log_normal, moments, truth

LENGTH = 4
OBSERVED = D([1.2, 0.7, -0.9, -1.4])
LOGITS = (-0.8, 0.5, 0.2, -0.4)


def model(theta):
    z = 0.5
    for t in range(LENGTH):
        z = aleator.sample(f"z_{t}", dist.Bernoulli(logits=4.0 * z - D(2.0)))
        aleator.sample(f"x_{t}", dist.Normal(2.0 * z - 1.0, D(1.0)), obs=OBSERVED[t])


def integrand(values, theta):
    total, before = 0.0, D(0.5)
    for t in range(LENGTH):
        z = values[f"z_{t}"]
        total = total + log_bernoulli(z, 4.0 * before - 2.0) - log_bernoulli(z, theta[t])
        total, before = total + log_normal(OBSERVED[t], 2.0 * z - 1.0, 1.0), z
    return total


def case_with(options):
    """The chain with a guide of bits apart from each other; ``options`` by place and the bit before."""

    def guide(theta):
        z = D(0.5)
        for t in range(LENGTH):
            fn = dist.Bernoulli(logits=theta[t])
            z = aleator.sample(f"z_{t}", fn, infer={"baseline": options(t, z)})

    latents = {f"z_{t}": ("bernoulli", (), lambda v, theta, t=t: theta[t]) for t in range(LENGTH)}
    return Case(model, guide, LOGITS, latents, integrand)


def variance(options, estimator=None):
    """The variance, summed over the logits; the mean is checked on the way."""
    case = case_with(options)
    theta = case.parameters()
    (true_gradient,) = torch.autograd.grad(truth(case, theta), theta)
    mean, found = moments(case, estimator or TraceGraph_ELBO())
    torch.testing.assert_close(mean, true_gradient, rtol=1e-12, atol=1e-12)
    return float(found.sum())


def trained(options, modules=()):
    """Train what learns in a baseline, with the guide held still."""
    case = case_with(options)
    theta = D(list(case.theta))

    def guide(theta):
        for name, module in modules:
            aleator.module(name, module)
        case.guide(theta)

    svi = SVI(model, guide, Adam(lr=0.1), TraceGraph_ELBO(), rng=0)
    for _ in range(150):
        svi.step(theta)


def optimal_constants():
    """E[score^2 cost] / E[score^2] of each bit, from the formulas: its costs are its own two terms and its child's."""
    theta = D(list(LOGITS))
    probabilities = torch.sigmoid(theta)
    top = bottom = torch.zeros(LENGTH, dtype=torch.float64)
    for bits in itertools.product((0.0, 1.0), repeat=LENGTH):
        z = D(bits)
        weight = torch.where(z > 0, probabilities, 1.0 - probabilities).prod()
        before = torch.cat([D([0.5]), z[:-1]])
        prior = log_bernoulli(z, 4.0 * before - 2.0)
        child = torch.cat([prior[1:], D([0.0])])
        cost = prior + child + log_normal(OBSERVED, 2.0 * z - 1.0, 1.0) - log_bernoulli(z, theta)
        score = z - probabilities
        top, bottom = top + weight * score**2 * cost, bottom + weight * score**2
    return top / bottom


@pytest.fixture(scope="module")
def table():
    constants = optimal_constants()
    values = torch.nn.Linear(1, LENGTH).double()
    with torch.no_grad():
        values.weight.zero_()
        values.bias.zero_()

    def network(t, z):
        return {"nn_baseline": lambda x: values(x.reshape(1))[t], "nn_baseline_input": z}

    def average(t, z):
        return {"use_decaying_avg_baseline": True}

    found = {}
    with aleator.ParamStore():
        found["all costs"] = variance(lambda t, z: None, Trace_ELBO())
        found["downstream"] = variance(lambda t, z: None)
        found["constant"] = variance(lambda t, z: {"baseline_value": constants[t]})
        trained(average)
        found["average"] = variance(average)
    with aleator.ParamStore():
        trained(network, [("values", values)])
        found["network"] = variance(network)
    return found


def test_dependence_alone_lowers_the_variance(table):
    """SEMANTICS 11; measured 12 times here. Catches costs that are kept although nothing depends on the draw."""
    assert table["downstream"] < 0.2 * table["all costs"]


@pytest.mark.parametrize("kind", ["average", "network", "constant"])
def test_a_baseline_lowers_it_further(table, kind):
    """SEMANTICS 16; catches a baseline that is added, halved, or of another site."""
    assert table[kind] < 0.5 * table["downstream"]


def test_the_optimal_constant_is_the_best_number(table):
    assert table["constant"] < 0.9 * table["average"]
    constants = optimal_constants()
    with aleator.ParamStore():
        for shift in (-0.3, 0.3):
            assert table["constant"] < variance(lambda t, z, shift=shift: {"baseline_value": constants[t] + shift})
