"""TraceMeanField_ELBO against exact expectations, closed forms and Trace_ELBO; each broken twin fails."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

import aleator
import aleator.distributions as dist
import aleator_svi_elbo.mean_field as mean_field
from aleator import handlers
from aleator_svi_elbo import Trace_ELBO, TraceMeanField_ELBO
from exact_expectation import Case, D, expected, log_bernoulli, log_normal, runs, truth
from gradient_cases import CASES, ONE, PRIOR_LOGIT, WEIGHTS, X, observe
from test_gradient_rules import CHAIN, PARTICLES, asking, compare, gradients

KEPT = torch.tensor([True, False])


def twisted_model(theta):
    """The guide draws a, then b from it; in the model a comes from b: the condition fails at a, and holds at b."""
    b = aleator.sample("b", dist.Normal(D(0.0), ONE))
    a = aleator.sample("a", dist.Normal(0.5 * b, ONE))
    observe("x", b - 0.5 * a, X[0])


TWISTED = replace(
    CHAIN,
    model=twisted_model,
    integrand=lambda v, t: (
        log_normal(v["b"], 0.0, 1.0)
        + log_normal(v["a"], 0.5 * v["b"], 1.0)
        + log_normal(X[0], v["b"] - 0.5 * v["a"], 1.0)
        - log_normal(v["a"], t[0], t[1].exp())
        - log_normal(v["b"], t[2] * v["a"] + t[3], t[4].exp())
    ),
)


def plates_model(theta):
    z = aleator.sample("z", dist.Normal(D(0.0), ONE))
    with aleator.plate("data", 3, subsample_size=2) as rows, handlers.scale(scale=2.0):
        w = aleator.sample("w", dist.Normal(z, ONE))
        observe("x", w, X[rows])


def plates_guide(theta):
    aleator.sample("z", dist.Normal(theta[0], theta[1].exp()))
    with aleator.plate("data", 3, subsample_size=2) as rows, handlers.scale(scale=2.0):
        aleator.sample("w", dist.Normal(theta[2:5][rows], theta[5].exp()))


PLATES = Case(
    plates_model,
    plates_guide,
    (0.4, -0.2, 0.7, 0.1, 0.5, 0.2),
    {"z": ("normal", (), lambda v, t: (t[0], t[1].exp())), "w": ("normal", (3,), lambda v, t: (t[2:5], t[5].exp()))},
    lambda v, t: (
        log_normal(v["z"], 0.0, 1.0)
        - log_normal(v["z"], t[0], t[1].exp())
        + 2.0
        * (log_normal(v["w"], v["z"], 1.0) + log_normal(X, v["w"], 1.0) - log_normal(v["w"], t[2:5], t[5].exp())).sum()
    ),
    {"w": (2,)},
    tuple(("data", rows) for rows in ((0, 1), (2, 0), (1, 2))),
)


def masks_model(theta):
    with aleator.plate("data", 2):
        with handlers.mask(mask=KEPT), handlers.scale(scale=WEIGHTS):
            z = aleator.sample("z", dist.Normal(D(0.0), ONE))
        u = aleator.sample("u", dist.Normal(z[..., None], ONE).mask(KEPT[:, None]).to_event(1))
        observe("x", z + u[..., 0], X[:2])


def masks_guide(theta):
    with aleator.plate("data", 2):
        with handlers.mask(mask=KEPT), handlers.scale(scale=WEIGHTS):
            aleator.sample("z", dist.Normal(theta[:2], theta[2].exp()))
        aleator.sample("u", dist.Normal(theta[3:5, None], ONE).mask(KEPT[:, None]).to_event(1))


MASKS = Case(
    masks_model,
    masks_guide,
    (0.4, -0.2, 0.3, 0.7, 0.1),
    {
        "z": ("normal", (2,), lambda v, t: (t[:2], t[2].exp())),
        "u": ("normal", (2, 1), lambda v, t: (t[3:5, None], ONE)),
    },
    lambda v, t: (
        KEPT * WEIGHTS * (log_normal(v["z"], 0.0, 1.0) - log_normal(v["z"], t[:2], t[2].exp()))
        + KEPT * (log_normal(v["u"], v["z"][:, None], 1.0) - log_normal(v["u"], t[3:5, None], 1.0))[:, 0]
        + log_normal(X[:2], v["z"] + v["u"][:, 0], 1.0)
    ).sum(),
)
ANALYTIC = {
    "pathwise": (CASES["pathwise"], {"z"}),
    "chain": (CHAIN, {"a", "b"}),
    "twisted": (TWISTED, {"b"}),
    "plates": (PLATES, {"z", "w"}),
    "masks": (MASKS, {"z", "u"}),
}
GRID = [
    pytest.param(name, how, id=f"{name}-{how}")
    for name, (case, _) in ANALYTIC.items()
    for how, options in PARTICLES.items()
    if runs(case, options["num_particles"]) <= 170
]


def analytic_sites(model, guide, *args):
    """The sites whose divergence is in closed form."""
    with aleator.ParamStore():
        found = []
        original = mean_field.divergences
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(
                "aleator_svi_elbo.trace_mean_field_elbo.divergences",
                lambda *traces: found.append(original(*traces)) or found[-1],
            )
            TraceMeanField_ELBO().loss(model, guide, *args)
    return set(found[0])


@pytest.mark.parametrize(("name", "how"), GRID)
def test_value_and_gradient_equal_enumeration(name, how):
    """SEMANTICS 18 to 21: scale, mask, plates, subsamples, particles, and a divergence only where it is right."""
    case, analytic = ANALYTIC[name]
    assert analytic_sites(case.model, case.guide, case.parameters()) == analytic
    loss_error, gradient_error = compare(case, TraceMeanField_ELBO(**PARTICLES[how]))
    assert loss_error < 1e-11
    assert gradient_error < 1e-10


@pytest.mark.parametrize("only", ["a", "b", "ab"])
@pytest.mark.parametrize("rule", ["stl", "score"])
@pytest.mark.parametrize("case", [CHAIN, TWISTED], ids=["chain", "twisted"])
def test_other_rules_beside_divergences(case, rule, only):
    """A forced score multiplies the other sites' divergences; sites with a rule of their own are drawn."""
    asked = asking(case, rule, only)
    assert max(compare(asked, TraceMeanField_ELBO())) < 1e-10
    assert analytic_sites(asked.model, asked.guide, case.parameters()).isdisjoint(only)


def test_the_condition_without_its_check_is_caught(monkeypatch):
    """The peers' reading: a divergence wherever there is a rule. SEMANTICS 19: never a biased number."""
    monkeypatch.setattr(mean_field, "obstacle", lambda model_site, guide_site, ancestors: None)
    assert min(compare(TWISTED, TraceMeanField_ELBO())) > 1e-2


@pytest.mark.parametrize(
    ("change", "name"),
    [
        pytest.param(lambda f: replace(f, scale=1.0), "plates", id="handlers' scale dropped"),
        pytest.param(lambda f: replace(f, frames=frozenset()), "plates", id="plates' scale dropped"),
        pytest.param(lambda f: replace(f, log_prob=-f.log_prob, entropy=-f.entropy), "pathwise", id="sign flipped"),
        pytest.param(lambda f: replace(f, entropy=f.entropy.detach()), "pathwise", id="gradient cut"),
    ],
)
def test_broken_terms_are_caught(monkeypatch, change, name):
    original = mean_field._as_factor
    monkeypatch.setattr(mean_field, "_as_factor", lambda *arguments: change(original(*arguments)))
    assert max(compare(ANALYTIC[name][0], TraceMeanField_ELBO())) > 1e-2


def test_a_divergence_the_other_way_is_caught(monkeypatch):
    original = mean_field.kl_divergence
    monkeypatch.setattr(mean_field, "kl_divergence", lambda q, p: original(p, q))
    assert min(compare(CASES["pathwise"], TraceMeanField_ELBO())) > 1e-2


def test_an_ignored_mask_is_caught(monkeypatch):
    monkeypatch.setattr(
        mean_field, "isinstance", lambda thing, kind: False if kind is torch.Tensor else True, raising=False
    )
    monkeypatch.setattr(mean_field, "_require_equal", lambda *arguments: None)
    assert max(compare(MASKS, TraceMeanField_ELBO())) > 1e-2


def test_auxiliary_sites_count_as_drawn():
    """The guide's auxiliary site feeds z: its own term is minus log q, as in Trace_ELBO."""

    def model():
        observe("x", aleator.sample("z", dist.Normal(D(0.0), ONE)), X[0])

    def guide():
        u = aleator.sample("u", dist.Normal(aleator.param("loc", D(0.5)), ONE), infer={"is_auxiliary": True})
        aleator.sample("z", dist.Normal(u, ONE))

    with aleator.ParamStore():
        with aleator.rng(0):
            estimate = TraceMeanField_ELBO().estimate(model, guide)
        with aleator.rng(0):
            u = aleator.sample("u", dist.Normal(D(0.5), ONE))
    torch.testing.assert_close(estimate.aux["elbo/z"], -0.5 * u**2)
    torch.testing.assert_close(estimate.aux["elbo/u"], -log_normal(u, 0.5, 1.0))


def test_lower_variance_than_draws():
    """What the divergence is for; a twin that never takes one has the variance of Trace_ELBO."""

    def model():
        z = aleator.sample("z", dist.Normal(D(0.0), ONE).expand((4,)).to_event(1))
        observe("x", 0.1 * z.sum(), X[0])

    def guide():
        loc, scale = aleator.param("loc", D([0.5, -0.5, 1.0, 0.0])), aleator.param("scale", D([1.5, 0.5, 1.0, 2.0]))
        aleator.sample("z", dist.Normal(loc, scale).to_event(1))

    drawn = gradients(model, guide, Trace_ELBO(), range(40)).var(0).sum()
    integrated = gradients(model, guide, TraceMeanField_ELBO(), range(40)).var(0).sum()
    assert integrated < 0.05 * drawn


def test_the_gradient_equals_finite_differences():
    """No draw enters the loss here: it is a plain function of the parameters."""
    theta = D([0.3, 0.2, 1.2]).requires_grad_()

    def model(theta):
        with aleator.plate("data", 4, subsample=[0, 3]):
            aleator.sample("z", dist.Gamma(D(2.0), D(1.5)))
            aleator.sample("p", dist.Dirichlet(D([1.0, 2.0])))

    def guide(theta):
        with aleator.plate("data", 4, subsample=[0, 3]):
            aleator.sample("z", dist.Gamma(theta[0].exp(), theta[1].exp()))
            aleator.sample("p", dist.Dirichlet(torch.stack([theta[2], ONE])))

    loss = TraceMeanField_ELBO()
    surrogate = loss.estimate(model, guide, theta).surrogate
    (found,) = torch.autograd.grad(surrogate, theta)
    by_hand = [
        (loss.loss(model, guide, theta + step) - loss.loss(model, guide, theta - step)) / 2e-5
        for step in 1e-5 * torch.eye(3, dtype=torch.float64)
    ]
    torch.testing.assert_close(found, D(by_hand), rtol=1e-6, atol=1e-7)


def test_discrete_values_below_normal_ones_are_refused():
    """SEMANTICS 20: every draw of the guide is reparameterized; the alternative is named."""
    assert truth(CASES["mixed"], CASES["mixed"].parameters()).isfinite()
    with pytest.raises(ValueError, match=r"guide site 'b' has no reparameterized draw \(Bernoulli\).*use Trace_ELBO"):
        expected(CASES["mixed"], TraceMeanField_ELBO())
    assert log_bernoulli(ONE, PRIOR_LOGIT) < 0.0


def moved(base_loc, loc):
    return dist.TransformedDistribution(dist.Normal(D(base_loc), ONE), [dist.transforms.AffineTransform(loc, ONE)])


@pytest.mark.parametrize("wrap", [lambda fn: fn, lambda fn: fn.expand((2,)).to_event(1)], ids=["plain", "event"])
def test_a_learned_transform_keeps_its_gradient(monkeypatch, wrap):
    """It equals the prior's at the start, where the registered rule forgets both; the draw does not."""

    def model():
        aleator.sample("z", wrap(moved(0.0, D(0.0))))

    def guide():
        aleator.sample("z", wrap(moved(1.0, aleator.param("loc", D(0.0)))))

    drawn = gradients(model, guide, Trace_ELBO())
    assert drawn.abs().min() > 1e-2
    torch.testing.assert_close(gradients(model, guide, TraceMeanField_ELBO()), drawn)
    monkeypatch.setattr(mean_field, "_learned_transforms", lambda q, p: False)
    with aleator.ParamStore():
        assert not TraceMeanField_ELBO().estimate(model, guide).surrogate.requires_grad


def test_one_transform_in_both_programs_cancels():
    """The same object, learned or not: the divergence is the bases'."""
    shift = dist.transforms.AffineTransform(D(0.3).requires_grad_(), ONE)

    def program(base_loc):
        def run():
            aleator.sample("z", dist.TransformedDistribution(dist.Normal(D(base_loc), ONE), [shift]))

        return run

    assert analytic_sites(program(0.0), program(1.0)) == {"z"}
    assert TraceMeanField_ELBO().loss(program(0.0), program(1.0)) == pytest.approx(0.5)
