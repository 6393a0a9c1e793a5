"""A baseline of any kind leaves value and expected gradient as they are: exactly, summed over all draws."""

from __future__ import annotations

import pytest
import torch

import aleator
from aleator_svi_elbo import TraceGraph_ELBO
from baseline_cases import KINDS, fill_averages, with_baseline
from exact_expectation import D, expected, moments, runs, truth
from graph_cases import GRAPH_CASES

PARTICLES = {
    "one": {"num_particles": 1},
    "two": {"num_particles": 2},
    "vectorized": {"num_particles": 2, "vectorize_particles": True},
}
HOST = {"steered", "two-ways"}
GRID = [
    pytest.param(name, kind, how, id=f"{name}-{kind}-{how}")
    for name, case in GRAPH_CASES.items()
    for kind in KINDS
    for how, particles in PARTICLES.items()
    if runs(case, particles["num_particles"]) <= 40
    and not (how == "vectorized" and name in HOST)
    and name != "pathwise"
]


@pytest.fixture(autouse=True)
def store():
    with aleator.ParamStore() as inner:
        yield inner


@pytest.mark.parametrize(("name", "kind", "how"), GRID)
def test_no_baseline_changes_the_expectation(name, kind, how):
    """SEMANTICS 16, 17: neither the gradient, nor the value that is reported."""
    case = with_baseline(GRAPH_CASES[name], kind)
    fill_averages(case)
    theta = case.parameters()
    true_loss = truth(case, theta)
    (true_gradient,) = torch.autograd.grad(true_loss, theta)
    loss, gradient = expected(case, TraceGraph_ELBO(**PARTICLES[how]))
    torch.testing.assert_close(loss, true_loss.detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradient, true_gradient, rtol=1e-12, atol=1e-12)


def test_the_grid_holds_what_matters():
    names = {entry.values[0] for entry in GRID}
    assert {"score", "vee", "chain", "plate-score", "subsample-score", "mask", "through", "forced-score"} <= names
    assert {entry.values[2] for entry in GRID} == set(PARTICLES)


def test_an_average_per_element_of_a_plate():
    case = with_baseline(GRAPH_CASES["plate-score"], "decaying")
    buffers = aleator.get_param_store().buffers
    buffers["baseline/b"], buffers["baseline/z"] = D(0.4), D([-3.0, 5.0])
    _, gradient = expected(case, TraceGraph_ELBO())
    theta = case.parameters()
    (true_gradient,) = torch.autograd.grad(truth(case, theta), theta)
    torch.testing.assert_close(gradient, true_gradient, rtol=1e-12, atol=1e-12)


def test_an_optimal_constant_lowers_the_variance():
    """SEMANTICS 16: E[s^2 c] / E[s^2] is the best constant; a far one makes matters worse. Exact, over all draws."""
    case = GRAPH_CASES["score"]
    theta = case.parameters()
    logit = theta.detach()[0]
    weights = {0.0: torch.sigmoid(-logit), 1.0: torch.sigmoid(logit)}
    top = bottom = torch.zeros((), dtype=torch.float64)
    for z, weight in weights.items():
        score = z - torch.sigmoid(logit)
        cost = case.integrand({"z": D(z)}, theta.detach())
        top, bottom = top + weight * score**2 * cost, bottom + weight * score**2
    variances = {}
    for name, value in (("none", 0.0), ("optimal", float(top / bottom)), ("far", 50.0)):

        def guide(theta, value=value):
            fn = aleator.distributions.Bernoulli(logits=theta[0])
            aleator.sample("z", fn, infer={"baseline": {"baseline_value": value}})

        variances[name] = moments(type(case)(**{**vars(case), "guide": guide}), TraceGraph_ELBO())[1][0]
    assert variances["optimal"] < 1e-12
    assert variances["none"] > 0.1
    assert variances["far"] > 100.0


def test_a_network_may_look_at_earlier_draws():
    """The input of a baseline is there before its draw is, so it cannot depend on it: another latent is no matter."""
    plain = GRAPH_CASES["chain"]
    network = torch.nn.Linear(1, 1).double()

    def guide(theta):
        z = D(0.5)
        for t in range(5):
            logits = theta[t] + theta[-1] * z
            baseline = {"nn_baseline": lambda x: network(x)[0], "nn_baseline_input": z.reshape(1) + theta[t]}
            z = aleator.sample(f"z_{t}", aleator.distributions.Bernoulli(logits=logits), infer={"baseline": baseline})

    case = type(plain)(**{**vars(plain), "guide": guide})
    theta = case.parameters()
    (true_gradient,) = torch.autograd.grad(truth(case, theta), theta)
    torch.testing.assert_close(expected(case, TraceGraph_ELBO())[1], true_gradient, rtol=1e-12, atol=1e-12)
