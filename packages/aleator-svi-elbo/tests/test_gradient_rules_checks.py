"""What a gradient rule may not be asked for, and how one may be asked for from outside."""

from __future__ import annotations

import pytest
import torch
from torch.nn.functional import dropout

import aleator
import aleator.distributions as dist
import aleator_svi_elbo.tracing as tracing
from aleator import handlers
from aleator.errors import ParameterError, UnsupportedModelError
from aleator.infer import density
from aleator.infer.gradient_rules import GRADIENT_RULES, GradientRule
from aleator.optim import Adam
from aleator_svi_elbo import SVI, Trace_ELBO
from exact_expectation import D

ONE = D(1.0)


def model():
    z = aleator.sample("z", dist.Normal(D(0.0), ONE))
    aleator.sample("x", dist.Normal(z, ONE), obs=D(1.0))


def guide():
    loc = aleator.param("loc", D(0.3))
    aleator.sample("z", dist.Normal(loc, ONE))


def refused(model, guide, match):
    """Check that the first step raises, and leaves the parameters as they were."""
    with aleator.ParamStore() as store:
        svi = SVI(model, guide, Adam(lr=0.1), Trace_ELBO(), progress=False)
        with pytest.raises(UnsupportedModelError, match=match):
            svi.step()
        assert store["loc"].item() == 0.3 if "loc" in store else True


@pytest.mark.parametrize("rule", ["path", 3, ["stl"], "dreg"])
def test_a_rule_that_the_estimator_lacks(rule):
    refused(
        model,
        handlers.infer_config(guide, config_fn=lambda site: {"gradient": rule}),
        r"guide site 'z' asks for the gradient rule .*, but Trace_ELBO has \['pathwise', 'score', 'stl'\] \(capability",
    )


@pytest.mark.parametrize("rule", ["stl", "pathwise"])
def test_a_draw_that_is_not_reparameterized(rule):
    def discrete_model():
        aleator.sample("z", dist.Bernoulli(0.5).expand((2,)).to_event(1))

    def discrete_guide():
        aleator.sample("z", dist.Bernoulli(0.5).expand((2,)).to_event(1), infer={"gradient": rule})

    refused(discrete_model, discrete_guide, f"guide site 'z' asks for the gradient rule '{rule}', but Bernoulli has no")


def test_a_rule_on_data():
    refused(
        handlers.infer_config(model, config_fn=lambda site: {"gradient": "score"} if site.name == "x" else {}),
        guide,
        "observed site 'x' asks for the gradient rule 'score', but data",
    )


def test_a_rule_on_the_model():
    refused(
        handlers.infer_config(model, config_fn=lambda site: {"gradient": "score"} if site.name == "z" else {}),
        guide,
        "model site 'z' asks for the gradient rule 'score', .* state it on the guide's site 'z'",
    )


def test_a_rule_around_both_programs():
    """The key may come from any handler, also from one around the whole step."""
    wish = {"gradient": "stl"}
    with aleator.ParamStore(), aleator.rng(0):
        with handlers.infer_config(config_fn=lambda site: wish if site.type == "sample" and site.name == "z" else {}):
            pair = tracing.trace_pair(Trace_ELBO(), model, guide, (), {})
    factor = density(pair.guide_trace)["z"]
    assert factor.entropy is not factor.log_prob
    torch.testing.assert_close(factor.entropy, factor.log_prob, rtol=0.0, atol=0.0)


def test_without_gradients_the_guide_runs_once(monkeypatch):
    monkeypatch.setattr(tracing, "attach_path_densities", attach := _Count(tracing.attach_path_densities))
    runs = []

    def counted():
        runs.append(1)
        aleator.sample("z", dist.Normal(aleator.param("loc", D(0.3)), ONE), infer={"gradient": "stl"})

    with aleator.ParamStore():
        Trace_ELBO().loss(model, counted)
        assert len(runs) == 1
        Trace_ELBO().loss_and_grads(model, counted)
    assert attach.calls == 2


class _Count:
    def __init__(self, function):
        self.function, self.calls = function, 0

    def __call__(self, *args):
        self.calls += 1
        return self.function(*args)


def test_a_guide_that_draws_outside_of_its_sites_is_found():
    """Dropout gives the second run another density: never a biased gradient in silence."""

    def noisy():
        loc = dropout(aleator.param("loc", torch.ones(20, dtype=torch.float64)), 0.5)
        aleator.sample("z", dist.Normal(loc.sum(), ONE), infer={"gradient": "stl"})

    with (
        aleator.ParamStore() as store,
        pytest.raises(ParameterError, match=r"'z': Normal expects 'log q run again.*dropout"),
    ):
        with aleator.rng(0):
            SVI(model, noisy, Adam(lr=0.1), Trace_ELBO(), progress=False).step()
    assert store["loc"].sum().item() == 20.0


def test_a_guide_that_takes_another_way_is_refused():
    runs = []

    def wandering():
        runs.append(1)
        aleator.param("loc", D(0.3))
        aleator.sample("z" if len(runs) == 1 else "y", dist.Normal(D(0.0), ONE), infer={"gradient": "stl"})

    refused(model, wandering, "guide site 'z' asks for the gradient rule 'stl'.*another way")


def test_an_estimator_may_bring_a_rule_of_its_own():
    """A rule is what it needs of the run; the estimator says the rest."""

    class Tempered(Trace_ELBO.__base__):
        capabilities = Trace_ELBO.capabilities.__class__(gradient_rules=frozenset({"cut"}))
        own_gradient_rules = (GradientRule("cut", is_pathwise=False),)

    cut = handlers.infer_config(guide, config_fn=lambda site: {"gradient": "cut"} if site.type == "sample" else {})
    with aleator.ParamStore():
        pair = tracing.trace_pair(Tempered(), model, cut, (), {})
    assert not pair.guide_trace.nodes["z"].value.requires_grad
    assert density(pair.guide_trace)["z"].score is not None
    assert "cut" not in GRADIENT_RULES
