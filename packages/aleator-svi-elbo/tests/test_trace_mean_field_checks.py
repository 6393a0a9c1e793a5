"""TraceMeanField_ELBO: what one divergence cannot carry, distributions of every kind, and diagnostics."""

from __future__ import annotations

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator import handlers
from aleator.errors import ModelGuideMismatchError, ParameterError, UnsupportedModelError
from aleator.infer import ELBO, get_estimator
from aleator.optim import Adam
from aleator_svi_elbo import SVI, Trace_ELBO, TraceMeanField_ELBO
from exact_expectation import D, log_normal

ONE = D(1.0)


def pair(p, q, model_handler=None, guide_handler=None, plate=None):
    """A model and a guide of one site each, under handlers and a plate."""

    def program(fn, handler):
        def run():
            with plate() if plate else handlers.scale(scale=1.0):
                if handler is None:
                    aleator.sample("z", fn())
                else:
                    with handler():
                        aleator.sample("z", fn())

        return run

    return program(p, model_handler), program(q, guide_handler)


def normal(loc, scale, shape=()):
    return lambda: dist.Normal(D(loc), D(scale)).expand(shape)


def loss(model, guide, estimator=None):
    with aleator.rng(0), aleator.ParamStore():
        return (estimator or TraceMeanField_ELBO()).loss(model, guide)


KL = 0.5 * (0.25 + 1.0 - 1.0) - D(0.5).log().item()  # of N(1, 1/2) from N(0, 1), by the formula


@pytest.mark.parametrize(
    ("of_model", "of_guide", "found"),
    [
        pytest.param(
            lambda: handlers.scale(scale=2.0), None, r"'z' has the scale 2.0 in the model, but 1.0 in", id="scale"
        ),
        pytest.param(
            None, lambda: handlers.scale(scale=2.0), r"'z' has the scale 1.0 in the model, but 2.0 in", id="guide"
        ),
        pytest.param(
            lambda: handlers.mask(mask=False), None, r"'z' has the mask False in the model, but True in", id="mask"
        ),
    ],
)
def test_unequal_scales_and_masks_are_refused(of_model, of_guide, found):
    """SEMANTICS 18: peers take the guide's and forget the model's."""
    with pytest.raises(ModelGuideMismatchError, match=found):
        loss(*pair(normal(0.0, 1.0), normal(1.0, 0.5), of_model, of_guide))


def test_unequal_tensors_are_found_with_the_other_checks():
    """A tensor is not read in the step; the one look at its end names the site."""

    def under(weights):
        return lambda: handlers.scale(scale=D(weights))

    def two():
        return aleator.plate("data", 2)

    programs = normal(0.0, 1.0), normal(1.0, 0.5)
    assert loss(*pair(*programs, under([1.0, 3.0]), under([1.0, 3.0]), two)) == pytest.approx(4.0 * KL)
    with pytest.raises(ParameterError, match=r"site 'z': Normal expects 'scale in the model less scale in the guide'"):
        loss(*pair(*programs, under([1.0, 3.0]), under([1.0, 2.0]), two))
    with pytest.raises(
        ModelGuideMismatchError, match=r"'z' has the scale of shape \(3,\) in the model, but of shape \(2,\)"
    ):
        loss(*pair(*programs, under([1.0, 3.0, 1.0]), under([1.0, 2.0]), two))
    kept = torch.tensor([True, False])
    masks = [lambda: handlers.mask(mask=kept.clone()), lambda: handlers.mask(mask=~kept)]
    assert loss(*pair(*programs, masks[0], masks[0], two)) == pytest.approx(KL)
    with pytest.raises(ParameterError, match=r"site 'z': Normal expects 'mask in the model less mask in the guide'"):
        loss(*pair(*programs, masks[0], masks[1], two))


def test_a_refused_step_changes_nothing():
    def guide():
        with handlers.scale(scale=2.0):
            aleator.sample("z", dist.Normal(aleator.param("loc", D(0.3)), ONE))

    model, _ = pair(normal(0.0, 1.0), normal(0.0, 1.0))
    with aleator.ParamStore() as store:
        with pytest.raises(ModelGuideMismatchError):
            SVI(model, guide, Adam(lr=0.1), TraceMeanField_ELBO(), progress=False).step()
        assert store["loc"].item() == 0.3


@pytest.mark.parametrize(
    ("p", "q", "by_hand"),
    [
        pytest.param(normal(0.0, 1.0), normal(1.0, 0.5), KL, id="normal"),
        pytest.param(
            lambda: normal(0.0, 1.0, (3,))().to_event(1),
            lambda: normal(1.0, 0.5, (3,))().to_event(1),
            3 * KL,
            id="event",
        ),
        pytest.param(lambda: dist.Normal(0.0, 1.0).expand((1,)), lambda: dist.Normal(1.0, 0.5), KL, id="leading one"),
        pytest.param(
            lambda: normal(0.0, 1.0, (2,))().mask(torch.tensor([True, False])).to_event(1),
            lambda: normal(1.0, 0.5, (2,))().mask(torch.tensor([True, False])).to_event(1),
            KL,
            id="masked distributions",
        ),
        pytest.param(lambda: dist.LogNormal(D(0.0), ONE), lambda: dist.LogNormal(ONE, D(0.5)), KL, id="transformed"),
        pytest.param(normal(0.0, 1.0), lambda: dist.Delta(D(0.7)), -log_normal(0.7, 0.0, 1.0).item(), id="point mass"),
        pytest.param(
            lambda: normal(0.0, 1.0, (2,))().to_event(1),
            lambda: dist.Delta(D([0.7, 0.7]), event_dim=1),
            -2 * log_normal(0.7, 0.0, 1.0).item(),
            id="point mass of a vector",
        ),
    ],
)
def test_closed_forms(p, q, by_hand):
    assert loss(*pair(p, q)) == pytest.approx(by_hand, abs=1e-6)


def test_a_divergence_that_lacks_the_batch_counts_once_per_element():
    """SEMANTICS 20: what a rule gives as a number is multiplied by the size of the batch."""

    class Odd(dist.Normal):
        pass

    @dist.register_kl(Odd, Odd)
    def number(q, p):
        return 7.0

    def plates():
        return aleator.plate("data", 4)

    assert loss(*pair(lambda: Odd(D(0.0), ONE), lambda: Odd(D(0.0), ONE), plate=plates)) == 28.0


def test_a_pair_without_a_rule_is_drawn():
    """A half-Cauchy prior under a log-normal guide: the same number as Trace_ELBO for the same draw."""
    programs = pair(lambda: dist.HalfCauchy(ONE), lambda: dist.LogNormal(D(0.3), ONE))
    assert loss(*programs) == loss(*programs, Trace_ELBO())


def test_masked_out_sites_count_nothing():
    """SEMANTICS 20: under mask=False nothing is evaluated."""

    def off():
        return handlers.mask(mask=False)

    assert loss(*pair(normal(0.0, 1.0), normal(1.0, 0.5), off, off)) == 0.0


def test_undeclared_score_terms_in_the_guide_are_refused():
    def guide():
        z = aleator.sample("z", dist.Normal(D(0.0), ONE))
        aleator.factor("bonus", z.sum(), has_rsample=False)

    def auxiliary():
        aleator.sample("u", dist.Bernoulli(0.5), infer={"is_auxiliary": True})
        aleator.sample("z", dist.Normal(D(0.0), ONE))

    model, _ = pair(normal(0.0, 1.0), normal(0.0, 1.0))
    with pytest.raises(UnsupportedModelError, match="guide site 'bonus' has no reparameterized draw"):
        loss(model, guide)
    with pytest.raises(UnsupportedModelError, match=r"guide site 'u' has no reparameterized draw \(Bernoulli\)"):
        loss(model, auxiliary)


def test_terms_by_site_need_no_read():
    """Estimate.aux holds minus the divergence, scaled as in the bound."""

    def plates():
        return aleator.plate("data", 4, subsample=[0, 1])

    model, guide = pair(normal(0.0, 1.0), normal(1.0, 0.5), plate=plates)
    estimate = TraceMeanField_ELBO(num_particles=3).estimate(model, guide)
    assert estimate.aux["elbo/z"].item() == pytest.approx(-4.0 * KL)
    assert estimate.loss.item() == pytest.approx(4.0 * KL)


def test_the_name_is_official():
    estimator = get_estimator("TraceMeanField_ELBO")(num_particles=2)
    assert estimator == TraceMeanField_ELBO(num_particles=2)
    assert isinstance(estimator, ELBO)
    assert not estimator.capabilities.non_reparam
