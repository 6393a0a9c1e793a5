"""Which costs a score term carries: those of its own plate elements, exactly."""

from __future__ import annotations

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator import handlers
from aleator.handlers import Messenger
from aleator.infer import density
from aleator_svi_elbo import Trace_ELBO, trace_terms
from aleator_svi_elbo.rao_blackwell import Costs
from exact_expectation import D, log_bernoulli, log_normal

DATA = D([0.5, -1.0])
ONE = D(1.0)


class Given(Messenger):
    """Gives latent sites fixed values."""

    def __init__(self, **values):
        self._values = values

    def process_sample(self, site):
        if site.value is None and site.name in self._values:
            site.value = self._values[site.name]


def independent_model(logits, data):
    with aleator.plate("data", 2):
        z = aleator.sample("z", dist.Bernoulli(D(0.5)))
        aleator.sample("x", dist.Normal(z, ONE), obs=data)


def independent_guide(logits, data):
    with aleator.plate("data", 2):
        aleator.sample("z", dist.Bernoulli(logits=logits))


def gradient(model, guide, logits, data, **values):
    with Given(**values):
        surrogate = Trace_ELBO().estimate(model, guide, logits, data).surrogate
    return torch.autograd.grad(surrogate, logits)[0]


def test_cross_terms_of_independent_data_are_exactly_zero():
    """SEMANTICS 1.

    The gradient of the second datum's parameter does not move with the first datum, for the same draw.
    """
    logits = D([0.3, -0.4]).requires_grad_()
    z = D([1.0, 0.0])
    before = gradient(independent_model, independent_guide, logits, DATA, z=z)
    after = gradient(independent_model, independent_guide, logits, DATA + D([100.0, 0.0]), z=z)
    assert after[1] == before[1]
    assert after[0] != before[0]


def test_mixed_slices_are_caught(monkeypatch):
    """The broken twin is unbiased, so only this test sees it."""
    monkeypatch.setattr(Costs, "of", lambda self, factor: sum(cost.sum() for cost in self._by_frames.values()))
    logits = D([0.3, -0.4]).requires_grad_()
    z = D([1.0, 0.0])
    before = gradient(independent_model, independent_guide, logits, DATA, z=z)
    after = gradient(independent_model, independent_guide, logits, DATA + D([100.0, 0.0]), z=z)
    assert after[1] != before[1]


@pytest.mark.parametrize("form", ["vectorized", "sequential"])
def test_the_score_is_weighted_by_its_own_slice(form):
    """SEMANTICS 1.

    Each parameter's gradient is minus its score times (log p - log q) of its datum, in both forms of a plate.
    """
    logits = D([0.3, -0.4]).requires_grad_()
    z = D([1.0, 0.0])

    def loop_model(logits, data):
        for i in aleator.plate("data", 2):
            value = aleator.sample(f"z_{i}", dist.Bernoulli(D(0.5)))
            aleator.sample(f"x_{i}", dist.Normal(value, ONE), obs=data[i])

    def loop_guide(logits, data):
        for i in aleator.plate("data", 2):
            aleator.sample(f"z_{i}", dist.Bernoulli(logits=logits[i]))

    if form == "vectorized":
        found = gradient(independent_model, independent_guide, logits, DATA, z=z)
    else:
        found = gradient(loop_model, loop_guide, logits, DATA, z_0=z[0], z_1=z[1])
    detached = logits.detach()
    cost = log_bernoulli(z, D(0.0)) + log_normal(DATA, z, 1.0) - log_bernoulli(z, detached)
    torch.testing.assert_close(found, -(z - torch.sigmoid(detached)) * cost, rtol=1e-12, atol=1e-14)


def test_independent_loops_nested_in_a_plate_do_not_mix():
    """A tensor plate inside a loop: the other turn's data do not enter this turn's gradient."""
    logits = D([[0.3, -0.4], [0.1, 0.2]]).requires_grad_()
    z = D([1.0, 0.0])

    def model(logits, data):
        for i in aleator.plate("turns", 2):
            with aleator.plate(f"inner_{i}", 2):
                value = aleator.sample(f"z_{i}", dist.Bernoulli(D(0.5)))
                aleator.sample(f"x_{i}", dist.Normal(value, ONE), obs=data[i])

    def guide(logits, data):
        for i in aleator.plate("turns", 2):
            with aleator.plate(f"inner_{i}", 2):
                aleator.sample(f"z_{i}", dist.Bernoulli(logits=logits[i]))

    data = torch.stack([DATA, DATA])
    moved = data + D([[50.0, 0.0], [0.0, 0.0]])
    before = gradient(model, guide, logits, data, z_0=z, z_1=z)
    after = gradient(model, guide, logits, moved, z_0=z, z_1=z)
    assert (before != after).tolist() == [[True, False], [False, False]]


@pytest.mark.parametrize("inner", [1, 3])
def test_a_plate_of_size_one_and_an_unexpanded_log_prob(inner):
    """SEMANTICS 2: Expanded by hand or by the plate, of size 1 or not: the same surrogate and gradient."""
    data = DATA[:1].expand(inner) if inner == 1 else D([0.5, -1.0, 0.2])

    def model(logit, expanded):
        with aleator.plate("outer", 1, dim=-2):
            z = aleator.sample("z", dist.Bernoulli(D(0.5)))
            with aleator.plate("inner", inner, dim=-1):
                fn = dist.Normal(z, ONE)
                aleator.sample("x", fn.expand((1, inner)) if expanded else fn, obs=data)

    def guide(logit, expanded):
        with aleator.plate("outer", 1, dim=-2):
            fn = dist.Bernoulli(logits=logit)
            aleator.sample("z", fn.expand((1, 1)) if expanded else fn)

    found = []
    for expanded in (False, True):
        logit = D(0.3).requires_grad_()
        with Given(z=D([[1.0]])):
            estimate = Trace_ELBO().estimate(model, guide, logit, expanded)
        found.append((estimate.loss, torch.autograd.grad(estimate.surrogate, logit)[0]))
    torch.testing.assert_close(found[0], found[1], rtol=1e-14, atol=0.0)
    cost = log_bernoulli(D(1.0), D(0.0)) + log_normal(data, 1.0, 1.0).sum() - log_bernoulli(D(1.0), D(0.3))
    torch.testing.assert_close(found[0], (-cost, -(1.0 - torch.sigmoid(D(0.3))) * cost), rtol=1e-12, atol=0.0)


def test_a_masked_latent_without_dependents_has_no_score_term():
    """SEMANTICS 3: The element that is masked everywhere adds exactly nothing, whatever it was drawn as."""
    kept = torch.tensor([True, False])

    def model(logits, data):
        with aleator.plate("data", 2), handlers.mask(mask=kept):
            z = aleator.sample("z", dist.Bernoulli(D(0.5)))
            aleator.sample("x", dist.Normal(z, ONE), obs=data)

    def guide(logits, data):
        with aleator.plate("data", 2), handlers.mask(mask=kept):
            aleator.sample("z", dist.Bernoulli(logits=logits))

    logits = D([0.3, -0.4]).requires_grad_()
    found = gradient(model, guide, logits, DATA, z=D([1.0, 1.0]))
    assert found[1] == 0.0
    assert found[0] != 0.0


def test_masked_data_may_be_nan():
    """A missing datum is NaN under a mask; loss and gradient stay finite, in the score term too."""

    def model(logits, data):
        with aleator.plate("data", 2), handlers.mask(mask=~data.isnan()):
            z = aleator.sample("z", dist.Bernoulli(D(0.5)))
            aleator.sample("x", dist.Normal(z, ONE), obs=data)

    logits = D([0.3, -0.4]).requires_grad_()
    found = gradient(model, independent_guide, logits, D([0.5, float("nan")]), z=D([1.0, 0.0]))
    assert found.isfinite().all()


def test_has_rsample_switches_one_instance():
    """SEMANTICS 4: ``has_rsample_(False)`` makes a normal site a score site, and only that one."""

    def model(loc):
        for name in ("a", "b"):
            aleator.sample(name, dist.Normal(D(0.0), ONE))

    def guide(loc):
        aleator.sample("a", dist.Normal(loc, ONE).has_rsample_(False))
        aleator.sample("b", dist.Normal(loc, ONE))

    trace = handlers.trace(guide).get_trace(D(0.3).requires_grad_())
    factors = density(trace)
    assert factors["a"].score is not None
    assert factors["b"].score is None
    assert isinstance(factors["a"].entropy, float)
    assert factors["a"].entropy == 0.0
    assert factors["b"].entropy is factors["b"].log_prob
    assert not trace.nodes["a"].value.requires_grad
    terms = trace_terms(handlers.trace(handlers.replay(model, trace=trace)).get_trace(D(0.3)), trace)
    torch.testing.assert_close(terms.score, factors["a"].log_prob)


def test_gradient_score_detaches_the_draw():
    """``infer={"gradient": "score"}`` makes a site a score site without touching its distribution."""

    def guide(loc):
        aleator.sample("z", dist.Normal(loc, ONE), infer={"gradient": "score"})

    def model(loc):
        aleator.sample("z", dist.Normal(D(0.0), ONE))

    loc = D(0.3).requires_grad_()
    with Given(z=D(2.0)):
        estimate = Trace_ELBO().estimate(model, guide, loc)
    cost = log_normal(D(2.0), 0.0, 1.0) - log_normal(D(2.0), 0.3, 1.0)
    torch.testing.assert_close(torch.autograd.grad(estimate.surrogate, loc)[0], -(2.0 - 0.3) * cost)


def test_a_factor_as_the_density_of_a_draw_made_by_hand():
    """``has_rsample=False``: the factor is log q of a value that the guide drew itself; its score carries the costs."""
    theta = D(0.4).requires_grad_()
    gradient_sum, value_sum = D(0.0), D(0.0)
    for drawn in (0.0, 1.0):

        def guide(theta, drawn=drawn):
            aleator.factor("log_q", log_bernoulli(D(drawn), theta), has_rsample=False)
            aleator.sample("z", dist.Delta(D(drawn)))

        def model(theta):
            z = aleator.sample("z", dist.Bernoulli(D(0.3)))
            aleator.sample("x", dist.Normal(z, ONE), obs=DATA[0])

        estimate = Trace_ELBO().estimate(model, guide, theta)
        weight = log_bernoulli(D(drawn), theta.detach()).exp()
        value_sum = value_sum + weight * estimate.loss
        gradient_sum = gradient_sum + weight * torch.autograd.grad(estimate.surrogate, theta)[0]
    truth = -sum(
        log_bernoulli(D(z), theta).exp()
        * (log_bernoulli(D(z), torch.logit(D(0.3))) + log_normal(DATA[0], z, 1.0) - log_bernoulli(D(z), theta))
        for z in (0.0, 1.0)
    )
    torch.testing.assert_close(value_sum, truth.detach())
    torch.testing.assert_close(gradient_sum, torch.autograd.grad(truth, theta)[0])
