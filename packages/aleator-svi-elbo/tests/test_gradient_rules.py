"""Every gradient rule against exact enumeration, and what sticking the landing is for: no variance at the posterior."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import aleator
import aleator.distributions as dist
import aleator_svi_elbo.path_density as path_density
from aleator import handlers
from aleator_svi_elbo import Trace_ELBO, TraceGraph_ELBO, TraceMeanField_ELBO
from exact_expectation import Case, D, expected, log_normal, runs, truth
from gradient_cases import CASES, ONE, X, observe

PARTICLES = {
    "one": {"num_particles": 1},
    "two": {"num_particles": 2},
    "vectorized": {"num_particles": 2, "vectorize_particles": True},
}


def chain_model(theta):
    a = aleator.sample("a", dist.Normal(D(0.0), ONE))
    b = aleator.sample("b", dist.Normal(a, ONE))
    observe("x", b - 0.5 * a, X[0])


def chain_guide(theta):
    a = aleator.sample("a", dist.Normal(theta[0], theta[1].exp()))
    aleator.sample("b", dist.Normal(theta[2] * a + theta[3], theta[4].exp()))


CHAIN = Case(
    chain_model,
    chain_guide,
    (0.4, -0.2, 0.7, 0.1, 0.3),
    {
        "a": ("normal", (), lambda v, t: (t[0], t[1].exp())),
        "b": ("normal", (), lambda v, t: (t[2] * v["a"] + t[3], t[4].exp())),
    },
    lambda v, t: (
        log_normal(v["a"], 0.0, 1.0)
        + log_normal(v["b"], v["a"], 1.0)
        + log_normal(X[0], v["b"] - 0.5 * v["a"], 1.0)
        - log_normal(v["a"], t[0], t[1].exp())
        - log_normal(v["b"], t[2] * v["a"] + t[3], t[4].exp())
    ),
)
NORMAL = {name: case for name, case in CASES.items() if any(kind == "normal" for kind, _, _ in case.latents.values())}
NORMAL |= {"chain": CHAIN}
NORMAL.pop("forced-score")  # states the rule itself


def asking(case, rule, only=None):
    """The same case, its reparameterized sites asking for a rule."""

    def wish(site):
        latent = site.type == "sample" and not site.is_observed and getattr(site.fn, "has_rsample", False)
        return {"gradient": rule} if latent and (only is None or site.name in only) else {}

    return replace(case, guide=handlers.infer_config(case.guide, config_fn=wish))


def compare(case, estimator):
    theta = case.parameters()
    true_loss = truth(case, theta)
    (true_gradient,) = torch.autograd.grad(true_loss, theta)
    loss, gradient = expected(case, estimator)
    return float((loss - true_loss).detach().abs()), float((gradient - true_gradient).abs().max())


GRID = [
    pytest.param(name, how, id=f"{name}-{how}")
    for name, case in NORMAL.items()
    for how, options in PARTICLES.items()
    if runs(case, options["num_particles"]) <= 170
]


@pytest.mark.parametrize("rule", ["stl", "score"])
@pytest.mark.parametrize(("name", "how"), GRID)
def test_value_and_gradient_equal_enumeration(name, rule, how):
    """Plates, subsamples, masks, scales, looped and vectorized particles; each twin below fails somewhere."""
    case = asking(NORMAL[name], rule)
    loss_error, gradient_error = compare(case, Trace_ELBO(**PARTICLES[how]))
    assert loss_error < 1e-11
    assert gradient_error < 1e-10


@pytest.mark.parametrize("options", PARTICLES.values(), ids=PARTICLES)
@pytest.mark.parametrize("rule", ["stl", "score"])
@pytest.mark.parametrize("name", ["pathwise", "plate-mixed", "scale", "masked-out"])
def test_by_dependence_too(name, rule, options):
    """TraceGraph_ELBO finds the same rules in the factors."""
    case = asking(NORMAL[name], rule)
    if runs(case, options["num_particles"]) <= 100:
        assert max(compare(case, TraceGraph_ELBO(**options))) < 1e-10


@pytest.mark.parametrize("only", ["a", "b"])
@pytest.mark.parametrize("rule", ["stl", "score"])
def test_one_site_of_a_chain_may_have_a_rule_of_its_own(rule, only):
    assert max(compare(asking(CHAIN, rule, only), Trace_ELBO())) < 1e-10


def landing_model():
    a = aleator.sample("a", dist.Normal(D(0.0), ONE))
    b = aleator.sample("b", dist.Normal(a, ONE))
    observe("x", b, D(1.5))


def posterior_guide(rule):
    """The posterior itself: b given x is N(1, 2/3); a given b is N(b/2, 1/2)."""

    def guide():
        loc = aleator.param("loc", D(1.0))
        scale = aleator.param("scale", D(2.0 / 3.0) ** 0.5, constraint=dist.constraints.positive)
        slope = aleator.param("slope", D(0.5))
        rest = aleator.param("rest", D(0.5) ** 0.5, constraint=dist.constraints.positive)
        b = aleator.sample("b", dist.Normal(loc, scale), infer={"gradient": rule})
        aleator.sample("a", dist.Normal(slope * b, rest), infer={"gradient": rule})

    return guide


def gradients(model, guide, estimator=None, seeds=range(5)):
    """One row of gradients per seed, over the parameters in order of use."""
    rows = []
    for seed in seeds:
        with aleator.ParamStore() as store, aleator.rng(seed):
            surrogate = (estimator or Trace_ELBO()).estimate(model, guide).surrogate
            leaves = [leaf for _, leaf in store.named_parameters()]
            found = torch.autograd.grad(surrogate, leaves, allow_unused=True)
            rows.append(
                torch.cat(
                    [
                        torch.zeros_like(leaf).reshape(-1) if g is None else g.reshape(-1)
                        for g, leaf in zip(found, leaves, strict=True)
                    ]
                )
            )
    return torch.stack(rows)


@pytest.mark.parametrize("options", PARTICLES.values(), ids=PARTICLES)
def test_no_variance_at_the_posterior(options):
    """Roeder et al. (2017): every draw gives the zero gradient, through both sites of the chain."""
    for kind in (Trace_ELBO, TraceGraph_ELBO, TraceMeanField_ELBO):
        found = gradients(landing_model, posterior_guide("stl"), kind(**options))
        torch.testing.assert_close(found, torch.zeros_like(found), rtol=0.0, atol=1e-12)
    assert gradients(landing_model, posterior_guide("pathwise"), Trace_ELBO(**options)).std(0).min() > 1e-2


def test_detached_upstream_draws_are_caught(monkeypatch):
    """The twin scores attached draws under distributions that see them detached: unbiased, but it does not land.

    How a site's density changes with the draws before it is a score as well, whose mean is zero.
    """
    original = path_density._run_again

    def detached(guide, guide_trace, args, kwargs):
        cut = guide_trace.copy().detach_()
        again = original(guide, cut, args, kwargs)
        for name, site in again.nodes.items():
            if site.type == "sample" and not site.is_observed:
                site.value = guide_trace.nodes[name].value
        return again

    monkeypatch.setattr(path_density, "_run_again", detached)
    assert compare(asking(CHAIN, "stl"), Trace_ELBO())[1] < 1e-10
    assert gradients(landing_model, posterior_guide("stl")).abs().max() > 1e-2


def test_a_density_without_any_graph_is_caught(monkeypatch):
    """The twin cuts the draws that are scored too: the entropy is lost from the gradient."""
    original = path_density._run_again
    monkeypatch.setattr(
        path_density, "_run_again", lambda guide, trace, *rest: original(guide, trace.copy().detach_(), *rest)
    )
    assert compare(asking(CHAIN, "stl"), Trace_ELBO())[1] > 1e-2


def test_parameters_left_attached_are_caught(monkeypatch):
    """The twin forgets to make parameters constants: the plain rule again, whose variance stays."""
    monkeypatch.setitem(path_density.DetachedParameters.postprocess_table, "param", lambda self, site: None)
    assert gradients(landing_model, posterior_guide("stl")).std(0).max() > 1e-2


def test_arguments_left_attached_are_caught(monkeypatch):
    monkeypatch.setattr(path_density, "_constant", lambda tensor: tensor)

    def guide(theta):
        aleator.sample("z", dist.Normal(theta[0], theta[1]), infer={"gradient": "stl"})

    def model(theta):
        aleator.sample("z", dist.Normal(ONE, ONE))

    theta = torch.ones(2, dtype=torch.float64, requires_grad=True)

    def gradient():
        return torch.autograd.grad(Trace_ELBO().estimate(model, guide, theta).surrogate, theta)[0].abs().max()

    assert gradient() > 1e-3
    monkeypatch.undo()
    assert gradient() < 1e-12


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(lambda loc, scale: dist.Normal(loc, scale).to_event(1), id="to_event"),
        pytest.param(lambda loc, scale: dist.LogNormal(loc, scale).to_event(1), id="transformed"),
        pytest.param(
            lambda loc, scale: dist.TransformedDistribution(
                dist.Normal(D([0.0, 0.0]), ONE), [dist.transforms.AffineTransform(loc, scale)]
            ).to_event(1),
            id="parameters in a transform",
        ),
        pytest.param(
            lambda loc, scale: dist.Normal(loc, scale).mask(torch.tensor([True, True])).to_event(1), id="mask"
        ),
        pytest.param(lambda loc, scale: dist.MultivariateNormal(loc, scale_tril=torch.diag(scale)), id="multivariate"),
    ],
)
def test_landing_of_other_distributions(make):
    """Where q equals p, nothing is left to vary, whatever the family."""

    def model():
        aleator.sample("z", make(D([0.5, -0.5]), D([1.5, 0.5])))

    def guide():
        loc, scale = aleator.param("loc", D([0.5, -0.5])), aleator.param("scale", D([1.5, 0.5]))
        aleator.sample("z", make(loc, scale), infer={"gradient": "stl"})

    found = gradients(model, guide)
    torch.testing.assert_close(found, torch.zeros_like(found), rtol=0.0, atol=1e-12)


def test_a_point_mass_has_its_gradient_from_the_model():
    def model():
        aleator.sample("z", dist.Normal(D(0.0), ONE))

    def guide(rule):
        def program():
            aleator.sample("z", dist.Delta(aleator.param("v", D(3.0))), infer={"gradient": rule})

        return program

    assert (
        gradients(model, guide("stl"), seeds=[0]).item() == gradients(model, guide("pathwise"), seeds=[0]).item() == 3.0
    )


class Encoder(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.linear = torch.nn.Linear(1, 2, dtype=torch.float64)
        self.norm = torch.nn.BatchNorm1d(1, dtype=torch.float64)
        with torch.no_grad():
            self.linear.weight.zero_()
            self.linear.bias.zero_()

    def forward(self, x):
        return self.linear(self.norm(x)).unbind(-1)


def amortized(encoder):
    def model(x):
        with aleator.plate("data", len(x)):
            aleator.sample("z", dist.Normal(D(0.0), ONE))

    def guide(x):
        net = aleator.module("encoder", encoder)
        with aleator.plate("data", len(x)):
            loc, log_scale = net(x[:, None])
            aleator.sample("z", dist.Normal(loc, log_scale.exp()), infer={"gradient": "stl"})

    return model, guide


def test_modules_are_constants_in_the_second_run_and_get_their_own_tensors_back():
    """A running mean moves once per step, and the module's parameters are its own again afterwards."""
    encoder, twin = Encoder(), Encoder()
    twin.load_state_dict(encoder.state_dict())
    own = dict(encoder.named_parameters())
    x = D([1.0, 2.0, 4.0])
    model, guide = amortized(encoder)
    with aleator.ParamStore() as store, aleator.rng(0):
        surrogate = Trace_ELBO().estimate(model, guide, x).surrogate
        found = torch.autograd.grad(surrogate, [store.unconstrained("encoder$$$linear.bias")])[0]
    torch.testing.assert_close(found, torch.zeros_like(found), rtol=0.0, atol=1e-12)
    assert all(parameter is own[name] for name, parameter in encoder.named_parameters())
    twin(x[:, None])
    torch.testing.assert_close(encoder.norm.running_mean, twin.norm.running_mean)
    assert encoder.norm.num_batches_tracked.item() == 1
