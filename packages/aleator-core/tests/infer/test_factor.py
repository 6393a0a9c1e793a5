"""What a site adds to a density: masked, not scaled; its score neither."""

from __future__ import annotations

import math

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator import handlers
from aleator.infer import Role, density
from aleator.infer.factor import DETACHED_DRAW, PATH_DENSITY

HALF_LOG_TAU = 0.5 * math.log(2 * math.pi)


def factors(program):
    return density(handlers.trace(program).get_trace())


def test_roles_and_order():
    def program():
        aleator.sample("z", dist.Normal(0.0, 1.0))
        aleator.sample("a", dist.Normal(0.0, 1.0), infer={"is_auxiliary": True})
        aleator.deterministic("d", torch.tensor(2.0))
        aleator.sample("x", dist.Normal(0.0, 1.0), obs=torch.tensor(0.0))
        aleator.factor("f", torch.tensor(-3.0))

    found = factors(program)
    assert {name: factor.role for name, factor in found.items()} == {
        "z": Role.LATENT,
        "a": Role.AUXILIARY,
        "x": Role.OBSERVED,
        "f": Role.OBSERVED,
    }
    assert found["f"].log_prob == -3.0


def test_pathwise_and_score_parts():
    """SEMANTICS 4: reparameterized sites have no score, all others no entropy."""
    found = factors(
        lambda: (aleator.sample("n", dist.Normal(0.0, 1.0)), aleator.sample("b", dist.Bernoulli(torch.tensor(0.3))))
    )
    assert found["n"].score is None
    assert found["n"].entropy is found["n"].log_prob
    assert torch.equal(found["b"].score, found["b"].log_prob)
    assert found["b"].entropy == 0.0


def test_one_instance_switched_to_the_score_function():
    """SEMANTICS 4."""

    def program():
        fn = dist.Normal(0.0, 1.0)
        fn.has_rsample_(False)
        aleator.sample("n", fn)

    factor = factors(program)["n"]
    assert factor.score is not None
    assert factor.entropy == 0.0


def test_log_prob_is_masked_and_score_is_neither_masked_nor_scaled():
    """SEMANTICS 3: catches a score that is multiplied by the subsampling scale, which biases its gradient."""
    mask = torch.tensor([True, False])

    def program():
        with handlers.scale(scale=3.0), handlers.mask(mask=mask), aleator.plate("p", 10, subsample=[4, 7]):
            aleator.sample("b", dist.Bernoulli(torch.tensor(0.3)))

    trace = handlers.trace(program).get_trace()
    factor = density(trace)["b"]
    raw = trace.nodes["b"].fn.log_prob(trace.nodes["b"].value)
    assert torch.equal(factor.score, raw)
    assert torch.equal(factor.log_prob, torch.where(mask, raw, torch.zeros(())))
    assert factor.scale == 3.0
    assert factor.plate_scale == 5.0
    torch.testing.assert_close(factor.scaled, 15.0 * factor.log_prob)
    assert {frame.name for frame in factor.frames} == {"p"}


def test_value_that_lacks_a_plate_dim_counts_once_per_element():
    """SEMANTICS 2."""

    def program():
        with aleator.plate("p", 4):
            aleator.sample("x", dist.Normal(0.0, 1.0), obs=torch.tensor(0.0))

    assert float(factors(program)["x"].log_prob.sum()) == pytest.approx(-4 * HALF_LOG_TAU, rel=1e-6)


@pytest.mark.parametrize(
    ("fn", "missing"),
    [
        (lambda p: dist.Normal(p, 1.0), math.nan),
        (lambda p: dist.Gamma(p.exp(), 1.0), math.nan),
        (lambda p: dist.Beta(p.exp(), p.exp()), -1.0),
        (lambda p: dist.Poisson(p.exp()), -1.0),
        (lambda p: dist.Exponential(p.exp()), math.nan),
        (lambda p: dist.Bernoulli(logits=p), math.nan),
    ],
    ids=["normal", "gamma", "beta", "poisson", "exponential", "bernoulli"],
)
def test_missing_data_under_a_mask_give_zero_and_a_finite_gradient(fn, missing):
    """SEMANTICS 72: catches a mask by multiplication, or by ``where`` after scoring: both let NaN into the gradient."""
    parameter = torch.tensor([0.2, 0.2], requires_grad=True)
    data = torch.tensor([1.0 if missing != -1.0 else 0.5, missing])
    if fn(parameter).support.is_discrete:
        data[0] = 1.0

    def program():
        with handlers.mask(mask=torch.tensor([True, False])), aleator.plate("p", 2):
            aleator.sample("x", fn(parameter), obs=data)

    log_prob = factors(program)["x"].log_prob
    assert log_prob[1] == 0.0
    (gradient,) = torch.autograd.grad(log_prob.sum(), parameter)
    assert gradient.isfinite().all()
    assert gradient[1] == 0.0
    assert gradient[0] != 0.0


def test_mask_false_scores_nothing():
    class Unscorable(dist.Normal):
        def log_prob(self, value):
            raise AssertionError("a site under mask=False was scored")

    with handlers.trace() as trace, handlers.mask(mask=False), aleator.plate("p", 3):
        aleator.sample("x", Unscorable(0.0, 1.0), obs=torch.zeros(3))
    factor = density(trace)["x"]
    assert torch.equal(factor.log_prob, torch.zeros(3))


def test_factor_of_a_guide_is_a_score_where_it_says_so():
    """SEMANTICS 9."""
    found = factors(
        lambda: (
            aleator.factor("pathwise", torch.tensor(1.0), has_rsample=True),
            aleator.factor("score", torch.tensor(1.0), has_rsample=False),
        )
    )
    assert found["pathwise"].score is None
    assert found["score"].score is not None
    assert found["score"].entropy == 0.0


def test_value_that_cannot_be_scored_names_the_site():
    with handlers.trace() as trace, aleator.validation_enabled(False):
        aleator.sample("x", dist.Normal(torch.zeros(3), 1.0), obs=torch.zeros(2))
    with pytest.raises(ValueError, match=r"site 'x': Normal with batch shape \(3,\).*value of shape \(2,\)"):
        density(trace)


def test_a_path_density_takes_the_place_of_the_entropy():
    """What the tracing attached is what is differentiated; the number, the mask and the scale stay the site's."""
    loc = torch.tensor(0.5, requires_grad=True)
    with handlers.trace() as trace:
        z = aleator.sample("z", dist.Normal(loc, 1.0))
    site = trace.nodes["z"]
    site.stash[PATH_DENSITY] = dist.Normal(loc.detach(), 1.0).log_prob(z)
    factor = density(trace)["z"]
    assert factor.score is None
    assert factor.entropy is site.stash[PATH_DENSITY]
    assert torch.autograd.grad(factor.log_prob, loc, retain_graph=True)[0] == 0.0
    assert torch.autograd.grad(factor.entropy, loc)[0] == 0.5 - z.detach()


def test_a_draw_that_was_cut_has_a_score():
    """Whatever the rule is called, and also where the distribution is reparameterized."""
    with handlers.trace() as trace:
        aleator.sample("z", dist.Normal(0.0, 1.0))
    trace.nodes["z"].stash[DETACHED_DRAW] = True
    factor = density(trace)["z"]
    assert factor.entropy == 0.0
    torch.testing.assert_close(factor.score, factor.log_prob)
