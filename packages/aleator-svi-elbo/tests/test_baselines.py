"""What a baseline may be, what it may not, and what one estimate does with it."""

from __future__ import annotations

import re

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator.errors import AleatorWarning, UnsupportedModelError
from aleator.infer import get_estimator, is_available
from aleator_svi_elbo import Trace_ELBO, TraceGraph_ELBO, TraceMeanField_ELBO
from aleator_svi_elbo.tracing import trace_pair
from exact_expectation import D

LOGIT = D(0.4).requires_grad_()


@pytest.fixture(autouse=True)
def store():
    with aleator.ParamStore() as inner:
        yield inner


def model():
    z = aleator.sample("z", dist.Bernoulli(D(0.3)))
    aleator.sample("x", dist.Normal(z, D(1.0)), obs=D(0.5))


def guide_with(baseline, fn=None):
    def guide():
        aleator.sample("z", dist.Bernoulli(logits=LOGIT) if fn is None else fn, infer={"baseline": baseline})

    return guide


def cost(z):
    """log p - log q of one draw: the costs of the only score."""
    guide_log_prob = torch.distributions.Bernoulli(logits=LOGIT).log_prob(z)
    log_p = torch.distributions.Bernoulli(D(0.3)).log_prob(z) + torch.distributions.Normal(z, D(1.0)).log_prob(D(0.5))
    return (log_p - guide_log_prob).detach()


def drawn(estimate):
    """Which value was drawn: the loss tells."""
    return next(z for z in (D(0.0), D(1.0)) if torch.isclose(-cost(z), estimate.loss))


WRONG = {
    "a list": ([1], "expected a dict of options"),
    "True": (True, "expected a dict of options"),
    "misspelt": ({"nn_baselin": None}, "unknown option 'nn_baselin'.*did you mean 'nn_baseline'"),
    "unknown": ({"bias": 1.0}, "unknown option 'bias'; the options are nn_baseline, nn_baseline_input, use_decaying"),
    "both": (
        {"nn_baseline": torch.nn.Identity(), "nn_baseline_input": LOGIT, "baseline_value": 1.0},
        "nn_baseline and baseline_value exclude each other",
    ),
    "no input": ({"nn_baseline": torch.nn.Identity()}, "state nn_baseline_input"),
    "input alone": ({"nn_baseline_input": LOGIT}, "nn_baseline_input is for an nn_baseline"),
    "no function": ({"nn_baseline": 3.0, "nn_baseline_input": LOGIT}, "nn_baseline must be a module or a function"),
    "beta alone": ({"baseline_beta": 0.5}, "state use_decaying_avg_baseline=True"),
    "beta of 2": ({"use_decaying_avg_baseline": True, "baseline_beta": 2.0}, "a number from 0 to 1, but is 2.0"),
    "a word": ({"baseline_value": "mean"}, "baseline_value must be a tensor or a number, but is str"),
    "yes": ({"use_decaying_avg_baseline": "yes"}, "must be True or False, but is str"),
}


@pytest.mark.parametrize("name", WRONG)
def test_wrong_options_name_the_site(name, store):
    """SEMANTICS 13: before anything is updated; a ValueError, as in the peers, and more of them."""
    baseline, message = WRONG[name]
    with pytest.raises(UnsupportedModelError, match=f"(?s)guide site 'z'.*{message}") as found:
        TraceGraph_ELBO().estimate(model, guide_with(baseline))
    assert isinstance(found.value, ValueError)
    assert not store.buffers


@pytest.mark.parametrize("nothing", [None, {}, {"use_decaying_avg_baseline": False, "baseline_beta": 0.5}])
def test_no_baseline_is_none(nothing):
    estimate = TraceGraph_ELBO().estimate(model, guide_with(nothing))
    z = drawn(estimate)
    (grad,) = torch.autograd.grad(estimate.surrogate, LOGIT)
    torch.testing.assert_close(grad, -cost(z) * (z - torch.sigmoid(LOGIT)).detach())
    assert not estimate.updates


def test_a_baseline_on_a_pathwise_site_is_refused():
    def normal_model():
        aleator.sample("z", dist.Normal(D(0.0), D(1.0)))

    def normal_guide(**infer):
        infer["baseline"] = {"baseline_value": 1.0}
        aleator.sample("z", dist.Normal(LOGIT, D(1.0)), infer=infer)

    with pytest.raises(UnsupportedModelError, match="guide site 'z' has a baseline, but its gradient follows the draw"):
        TraceGraph_ELBO().estimate(normal_model, normal_guide)
    TraceGraph_ELBO().estimate(normal_model, lambda: normal_guide(gradient="score"))


def test_a_baseline_of_the_model_is_refused():
    def latent_model():
        aleator.sample("z", dist.Bernoulli(D(0.3)), infer={"baseline": {"baseline_value": 1.0}})

    def observed_model():
        model()
        aleator.sample("y", dist.Normal(0.0, 1.0), obs=D(0.0), infer={"baseline": {"baseline_value": 1.0}})

    def plain():
        aleator.sample("z", dist.Bernoulli(logits=LOGIT))

    with pytest.raises(
        UnsupportedModelError, match=r"model site 'z' has a baseline.*state the baseline on the guide's"
    ):
        TraceGraph_ELBO().estimate(latent_model, plain)
    with pytest.raises(UnsupportedModelError, match="observed site 'y' has a baseline, but data has no score"):
        TraceGraph_ELBO().estimate(observed_model, plain)


def test_other_estimators_refuse_instead_of_passing_over():
    """Peers ignore the key; here the wish is refused, as enumeration is where nobody enumerates."""
    guide = guide_with({"use_decaying_avg_baseline": True})
    estimators = [Trace_ELBO(), Trace_ELBO(num_particles=2), Trace_ELBO(num_particles=2, vectorize_particles=True)]
    if is_available("RenyiELBO"):
        estimators.append(get_estimator("RenyiELBO")(num_particles=2))
    for estimator in estimators:
        name = type(estimator).__name__
        with pytest.raises(UnsupportedModelError, match=f"'z' has a baseline, but {name} takes none; use TraceGraph"):
            estimator.loss(model, guide)
    assert TraceMeanField_ELBO.takes_baselines is False


@pytest.mark.parametrize("number", [0.75, D(0.75)], ids=["number", "tensor"])
def test_a_stated_value_is_subtracted(number):
    estimate = TraceGraph_ELBO().estimate(model, guide_with({"baseline_value": number}))
    z = drawn(estimate)
    (grad,) = torch.autograd.grad(estimate.surrogate, LOGIT)
    torch.testing.assert_close(grad, -(cost(z) - 0.75) * (z - torch.sigmoid(LOGIT)).detach())


@pytest.mark.parametrize(
    "particles",
    [{}, {"num_particles": 3}, {"num_particles": 3, "vectorize_particles": True}],
    ids=["one", "three", "vectorized"],
)
def test_a_trained_value_follows_the_costs(particles):
    """SEMANTICS 14, 17: gradient 2 (b - cost) by the squared distance, averaged over particles; no part of the loss."""
    value = D(0.25).requires_grad_()
    costs = []

    def fixed_guide():
        z = aleator.sample("z", dist.Bernoulli(logits=LOGIT), infer={"baseline": {"baseline_value": value}})
        costs.append(cost(z).reshape(-1))

    estimate = TraceGraph_ELBO(max_plate_nesting=0, **particles).estimate(model, fixed_guide)
    costs = torch.cat(costs[-particles.get("num_particles", 1) :])
    costs = costs[-particles.get("num_particles", 1) :]
    (grad,) = torch.autograd.grad(estimate.surrogate, value)
    torch.testing.assert_close(grad, (2.0 * (value - costs)).mean().detach())
    torch.testing.assert_close(estimate.loss, -costs.mean())


def test_a_network_gets_its_input_without_a_graph():
    """SEMANTICS 14: the guide's parameters are not moved to make the baseline fit; the network's are."""
    network = torch.nn.Linear(1, 1).double()
    seen = []

    def called(value):
        seen.append(value)
        return network(value["deep"][0])[0]

    baseline = {"nn_baseline": called, "nn_baseline_input": {"deep": [LOGIT.reshape(1) * 2.0]}}
    estimate = TraceGraph_ELBO().estimate(model, guide_with(baseline))
    assert not seen[0]["deep"][0].requires_grad
    value = network(seen[0]["deep"][0]).detach()[0]
    z = drawn(estimate)
    logit_grad, weight_grad = torch.autograd.grad(estimate.surrogate, (LOGIT, network.weight))
    torch.testing.assert_close(logit_grad, -(cost(z) - value) * (z - torch.sigmoid(LOGIT)).detach())
    torch.testing.assert_close(weight_grad[0, 0], 2.0 * (value - cost(z)) * 0.8)


def test_a_network_that_nobody_registered_is_pointed_out():
    """It would stay as it is, step by step, in silence; a function of one's own, or a frozen module, is no matter."""
    network = torch.nn.Linear(1, 1, bias=False).double()

    class First(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.inner = network

        def forward(self, value):
            return self.inner(value)[0]

    first = First()
    guide = guide_with({"nn_baseline": first, "nn_baseline_input": LOGIT.reshape(1)})

    def registering():
        aleator.module("first", first)
        guide()

    with pytest.warns(AleatorWarning, match=r"guide site 'z': its nn_baseline is not among .* aleator.module\('first'"):
        TraceGraph_ELBO().estimate(model, guide)
    TraceGraph_ELBO().estimate(model, registering)
    aleator.clear_param_store()
    first.requires_grad_(False)
    TraceGraph_ELBO().estimate(model, guide)


def test_a_network_that_returns_no_tensor():
    baseline = {"nn_baseline": lambda x: [x], "nn_baseline_input": LOGIT}
    with pytest.raises(ValueError, match="guide site 'z': its nn_baseline must return a tensor, but returned list"):
        TraceGraph_ELBO().estimate(model, guide_with(baseline))


@pytest.mark.parametrize("vectorized", [False, True])
def test_a_wrong_shape_names_the_site_and_both_shapes(vectorized):
    """SEMANTICS 15."""
    baseline = {"baseline_value": torch.zeros(3)}

    def plated_model():
        with aleator.plate("data", 2):
            model()

    def plated_guide():
        with aleator.plate("data", 2):
            guide_with(baseline)()

    estimator = TraceGraph_ELBO(num_particles=2, vectorize_particles=vectorized)
    wanted = re.escape("guide site 'z': its baseline has shape (3,), but the costs that its score is multiplied by")
    with pytest.raises(ValueError, match=rf"{wanted} have shape \(2,\)"):
        estimator.estimate(plated_model, plated_guide)
    baseline["baseline_value"] = torch.zeros(())
    with pytest.raises(ValueError, match=r"has shape \(\), but .* have shape \(2,\)"):
        estimator.estimate(plated_model, plated_guide)


def test_the_old_average_is_used_and_the_next_one_returned(store):
    """SEMANTICS 15: new = (1 - beta) cost + beta old; zero before the first step; nothing is written."""
    options = {"use_decaying_avg_baseline": True, "baseline_beta": 0.75}
    old = D(0.0)
    for is_first in (True, False):
        estimate = TraceGraph_ELBO().estimate(model, guide_with(options))
        z = drawn(estimate)
        (grad,) = torch.autograd.grad(estimate.surrogate, LOGIT)
        torch.testing.assert_close(grad, -(cost(z) - old) * (z - torch.sigmoid(LOGIT)).detach())
        assert list(estimate.updates) == ["baseline/z"]
        torch.testing.assert_close(estimate.updates["baseline/z"], 0.25 * cost(z) + 0.75 * old)
        assert ("baseline/z" in store.buffers) is not is_first
        old = estimate.updates["baseline/z"]
        store.buffers["baseline/z"] = old


def test_an_average_joins_a_trained_value():
    """SEMANTICS 13, 14: the trained part learns what the average leaves over."""
    aleator.get_param_store().buffers["baseline/z"] = D(-0.6)
    value = D(0.25).requires_grad_()
    options = {"use_decaying_avg_baseline": True, "baseline_value": value}
    estimate = TraceGraph_ELBO().estimate(model, guide_with(options))
    z = drawn(estimate)
    logit_grad, value_grad = torch.autograd.grad(estimate.surrogate, (LOGIT, value))
    rest = cost(z) + 0.6 - 0.25
    torch.testing.assert_close(logit_grad, -rest * (z - torch.sigmoid(LOGIT)).detach())
    torch.testing.assert_close(value_grad, -2.0 * rest)


@pytest.mark.parametrize("how", [{"num_particles": 4}, {"num_particles": 4, "vectorize_particles": True}])
def test_particles_read_one_average_and_their_next_ones_are_averaged(how):
    aleator.get_param_store().buffers["baseline/z"] = D(2.0)
    estimate = TraceGraph_ELBO(**how).estimate(model, guide_with({"use_decaying_avg_baseline": True}))
    # The costs of the one score are the bound itself, so their mean is minus the loss.
    torch.testing.assert_close(estimate.updates["baseline/z"], 0.9 * D(2.0) - 0.1 * estimate.loss)


@pytest.mark.parametrize("is_common", [False, True], ids=["not common", "common"])
def test_costs_count_with_the_scale_of_their_plates(is_common):
    """A stated value means the same whether the subsampled plate is around all sites or not."""
    value = torch.tensor([1.5, -0.5], dtype=torch.float64)

    def program(guiding):
        if not is_common:
            aleator.sample("b", dist.Bernoulli(D(0.5)))
        with aleator.plate("data", 6, subsample=[1, 4]):
            if guiding:
                fn = dist.Bernoulli(logits=LOGIT)
                z = aleator.sample("z", fn, infer={"baseline": {"baseline_value": value}})
                zs.append(z)
            else:
                model()

    zs = []
    estimate = TraceGraph_ELBO().estimate(lambda: program(False), lambda: program(True))
    (grad,) = torch.autograd.grad(estimate.surrogate, LOGIT)
    z = zs[-1]
    expected = -((3.0 * cost(z) - value) * (z - torch.sigmoid(LOGIT)).detach()).sum()
    torch.testing.assert_close(grad, expected)


def test_a_trained_value_under_a_common_subsampled_plate():
    """The squared distances are summed once each; the plate's scale is in the costs, and not before the sum."""
    value = torch.tensor([1.5, -0.5], dtype=torch.float64, requires_grad=True)
    zs = []

    def plated(program):
        def run():
            with aleator.plate("data", 6, subsample=[1, 4]):
                return program()

        return run

    def guide():
        zs.append(aleator.sample("z", dist.Bernoulli(logits=LOGIT), infer={"baseline": {"baseline_value": value}}))

    estimate = TraceGraph_ELBO().estimate(plated(model), plated(guide))
    (grad,) = torch.autograd.grad(estimate.surrogate, value)
    torch.testing.assert_close(grad, 2.0 * (value - 3.0 * cost(zs[-1])).detach())


def test_the_table_names_the_baseline():
    from aleator.infer.structure import annotate

    options = {"use_decaying_avg_baseline": True, "baseline_value": 1.0}
    for baseline, text in (
        (options, "decaying average (beta 0.9) + baseline_value"),
        ({"nn_baseline": torch.nn.Identity(), "nn_baseline_input": LOGIT}, "nn_baseline (Identity)"),
        (None, ""),
    ):
        guide = guide_with(baseline)
        pair = trace_pair(TraceGraph_ELBO(), model, guide, (), {})
        annotate(model, guide, (), {}, *pair)
        assert TraceGraph_ELBO().explain_sites(*pair)["z"]["baseline"] == text
