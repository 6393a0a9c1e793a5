"""Value and gradient of TraceGraph_ELBO against exact enumeration, and what each score is multiplied by."""

from __future__ import annotations

import pytest
import torch

import aleator
from aleator.infer import ELBO, SVI
from aleator.infer.structure import annotate
from aleator.optim import SGD
from aleator_svi_elbo import Trace_ELBO, TraceGraph_ELBO
from aleator_svi_elbo.tracing import trace_pair
from exact_expectation import expected, moments, runs, truth
from graph_cases import CHAIN, GRAPH_CASES, LENGTH, VEE

PARTICLES = {
    "one": {"num_particles": 1},
    "two": {"num_particles": 2},
    "vectorized": {"num_particles": 2, "vectorize_particles": True},
}
# A program that reads a value to decide has no meaning for many particles at once.
HOST = {"steered", "two-ways"}
GRID = [
    pytest.param(name, how, id=f"{name}-{how}")
    for name, case in GRAPH_CASES.items()
    for how, options in PARTICLES.items()
    if runs(case, options["num_particles"]) <= 200 and not (how == "vectorized" and name in HOST)
]


@pytest.mark.parametrize(("name", "how"), GRID)
def test_loss_and_gradient_equal_enumeration(name, how):
    """SEMANTICS 11: costs are left out where they do not matter, and nowhere else; the broken twins fail here."""
    case = GRAPH_CASES[name]
    theta = case.parameters()
    true_loss = truth(case, theta)
    (true_gradient,) = torch.autograd.grad(true_loss, theta)
    loss, gradient = expected(case, TraceGraph_ELBO(**PARTICLES[how]))
    torch.testing.assert_close(loss, true_loss.detach(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(gradient, true_gradient, rtol=1e-12, atol=1e-12)


def test_the_grid_holds_every_kind_of_particles():
    for how in PARTICLES:
        assert sum(entry.values[1] == how for entry in GRID) >= 10


def pair_of(case):
    """An annotated run of a case, as an estimator sees it."""
    estimator, theta = TraceGraph_ELBO(), case.parameters()
    pair = trace_pair(estimator, case.model, case.guide, (theta,), {})
    annotate(case.model, case.guide, (theta,), {}, *pair)
    return estimator, pair


def test_what_each_score_is_multiplied_by():
    """Each bit of the V with its own terms and the child it shares; nothing with the observation that stands alone."""
    estimator, pair = pair_of(VEE)
    assert estimator.explain_sites(*pair) == {
        "a": {"score costs": "log p(a), log p(x), log q(a)", "baseline": ""},
        "b": {"score costs": "log p(b), log p(x), log q(b)", "baseline": ""},
        "c": {"score costs": "log p(c), log p(y), log q(c)", "baseline": ""},
    }


def test_in_a_chain_the_past_is_left_out():
    estimator, pair = pair_of(CHAIN)
    table = estimator.explain_sites(*pair)
    for at in range(LENGTH):
        costs = table[f"z_{at}"]["score costs"].split(", ")
        later = range(at, LENGTH)
        assert costs == [
            *(f"log p({name}_{t})" for t in later for name in "zx"),
            *(f"log q(z_{t})" for t in later),
        ]


def test_pathwise_sites_have_no_score_costs_and_turns_are_kept_apart():
    estimator, pair = pair_of(GRAPH_CASES["mixed"])
    assert estimator.explain_sites(*pair)["z"] == {"score costs": "", "baseline": ""}
    estimator, pair = pair_of(GRAPH_CASES["sequential"])
    costs = estimator.explain_sites(*pair)["z_0"]["score costs"]
    assert costs == "log p(z_0), log p(x_0), log p(w_0), log p(y_0), log p(total), log q(z_0), log q(w_0)"


@pytest.mark.parametrize("name", ["vee", "chain", "two-plates"])
def test_less_variance_than_with_all_costs(name):
    """Exact variances, over all draws: no noise in this comparison."""
    case = GRAPH_CASES[name]
    mean, variance = moments(case, TraceGraph_ELBO())
    all_mean, all_variance = moments(case, Trace_ELBO())
    torch.testing.assert_close(mean, all_mean, rtol=1e-11, atol=1e-12)
    assert variance.sum() < 0.9 * all_variance.sum()


def test_terms_by_site_sum_to_the_bound():
    case = GRAPH_CASES["plate-score"]
    theta = case.parameters()
    for options in PARTICLES.values():
        estimate = TraceGraph_ELBO(**options).estimate(case.model, case.guide, theta)
        assert set(estimate.aux) == {"elbo/b", "elbo/z", "elbo/x"}
        torch.testing.assert_close(sum(estimate.aux.values()), -estimate.loss)


def test_pathwise_programs_give_what_trace_elbo_gives():
    case = GRAPH_CASES["pathwise"]
    results = []
    for estimator in (Trace_ELBO(), TraceGraph_ELBO()):
        theta = case.parameters()
        aleator.set_rng_seed(0)
        estimate = estimator.estimate(case.model, case.guide, theta)
        results.append((estimate.loss, torch.autograd.grad(estimate.surrogate, theta)[0]))
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


CALLS: list[str] = []


def counted_model(n):
    CALLS.append("model")
    with aleator.plate("data", n):
        z = aleator.sample("z", aleator.distributions.Bernoulli(0.5))
        aleator.sample("x", aleator.distributions.Normal(z, 1.0), obs=torch.zeros(n))


def counted_guide(n):
    CALLS.append("guide")
    logits = aleator.param("logits", torch.tensor(0.0))
    with aleator.plate("data", n):
        aleator.sample("z", aleator.distributions.Bernoulli(logits=logits))


def test_the_programs_are_analysed_once_per_structure():
    """Ten steps run each program eleven times: ten steps and one analysis; another structure takes another one."""
    with aleator.ParamStore():
        svi = SVI(counted_model, counted_guide, SGD(lr=0.1), TraceGraph_ELBO(), rng=0)
        for size, extra in ((3, 1), (4, 1), (3, 0)):
            del CALLS[:]
            for _ in range(10):
                svi.step(size)
            assert CALLS.count("guide") == CALLS.count("model") == 10 + extra


@pytest.mark.parametrize("options", PARTICLES.values(), ids=PARTICLES)
def test_the_analysis_leaves_the_stream_alone(options):
    """SEMANTICS 7: the loss under one seed is Trace_ELBO's, whether the structure was known or not."""

    def fresh():
        def guide(n):
            counted_guide(n)

        return guide

    with aleator.ParamStore():
        losses = []
        for estimator in (Trace_ELBO(**options), TraceGraph_ELBO(**options), TraceGraph_ELBO(**options)):
            aleator.set_rng_seed(1)
            losses.append(estimator.loss(counted_model, fresh(), 5))
    assert losses[0] == losses[1] == losses[2]


def test_the_front_door():
    assert type(ELBO(trace_graph=True, num_particles=3)) is TraceGraph_ELBO
    assert ELBO(3, True) == TraceGraph_ELBO(num_particles=3)
