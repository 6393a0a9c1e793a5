"""Programs that do not fit are refused by name, before a number is returned."""

from __future__ import annotations

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator.errors import AleatorWarning, ModelGuideMismatchError, ParameterError, SupportError, UnsupportedModelError
from aleator_svi_elbo import Trace_ELBO


def program(*sites, **keywords):
    """A program of normal sites by name."""

    def run():
        for name in sites:
            aleator.sample(name, dist.Normal(0.0, 1.0), **keywords)

    return run


FORMS = [{}, {"num_particles": 2}, {"num_particles": 2, "vectorize_particles": True}]


@pytest.mark.parametrize("options", FORMS)
def test_a_guide_site_that_the_model_lacks(options):
    with pytest.raises(ModelGuideMismatchError, match=r"guide's sites \['zz'\] are not in the model.*is_auxiliary"):
        Trace_ELBO(**options).loss(program("z"), program("z", "zz"))


def test_an_auxiliary_site_is_let_pass():
    def guide():
        aleator.sample("z", dist.Normal(0.0, 1.0))
        aleator.sample("a", dist.Normal(0.0, 1.0), infer={"is_auxiliary": True})

    assert isinstance(Trace_ELBO().loss(program("z"), guide), float)


@pytest.mark.parametrize("options", FORMS)
def test_a_latent_model_site_that_the_guide_lacks(options):
    """The peer only warns, and returns log p(z) without its -log q."""
    with pytest.raises(ModelGuideMismatchError, match=r"model's latent sites \['y'\] are not in the guide"):
        Trace_ELBO(**options).loss(program("z", "y"), program("z"))


def test_both_at_once_are_named_together():
    with pytest.raises(ModelGuideMismatchError, match=r"\['y'\].*and the guide's sites \['x'\]"):
        Trace_ELBO().loss(program("z", "y"), program("z", "x"))


def test_a_latent_of_the_model_that_the_guide_observes():
    def guide():
        aleator.sample("z", dist.Normal(0.0, 1.0), obs=torch.tensor(0.0))

    with pytest.raises(ModelGuideMismatchError, match="'z' is latent here, but an observed site"):
        Trace_ELBO().loss(program("z"), guide)


def test_shapes_that_differ_are_shown_in_two_tables():
    def model():
        with aleator.plate("data", 3):
            aleator.sample("z", dist.Normal(0.0, 1.0))

    def guide():
        aleator.sample("z", dist.Normal(torch.zeros(3), 1.0).to_event(1))

    with pytest.raises(ModelGuideMismatchError, match=r"site 'z' has batch shape \(3,\)") as caught:
        Trace_ELBO().loss(model, guide)
    assert "Model shapes:" in str(caught.value)
    assert "Guide shapes:" in str(caught.value)


@pytest.mark.parametrize("side", ["guide", "model"])
def test_an_undeclared_batch_dim(side):
    def wide():
        aleator.sample("z", dist.Normal(torch.zeros(3), 1.0))

    def observed():
        aleator.sample("z", dist.Normal(0.0, 1.0))
        aleator.sample("x", dist.Normal(torch.zeros(3), 1.0), obs=torch.zeros(3))

    pair = (wide, wide) if side == "guide" else (observed, program("z"))
    with pytest.raises(ValueError, match=rf"{side} site '[zx]' has batch shape \(3,\), but no plate declares dim -1"):
        Trace_ELBO().loss(*pair)


def test_a_factor_in_the_guide_must_state_has_rsample():
    def guide(has_rsample):
        aleator.sample("z", dist.Normal(0.0, 1.0))
        aleator.factor("f", torch.tensor(-1.0), has_rsample=has_rsample)

    def model(has_rsample):
        aleator.sample("z", dist.Normal(0.0, 1.0))

    with pytest.raises(UnsupportedModelError, match=r"guide site 'f'.*has_rsample=True"):
        Trace_ELBO().loss(model, guide, None)
    for stated in (True, False):
        assert Trace_ELBO().loss(model, guide, stated) == pytest.approx(-1.0)


def test_a_factor_in_the_model_need_not():
    def model():
        aleator.sample("z", dist.Normal(0.0, 1.0))
        aleator.factor("f", torch.tensor(-1.0))

    assert Trace_ELBO().loss(model, program("z")) == pytest.approx(1.0)


def test_a_guide_that_draws_outside_the_models_support():
    def model():
        aleator.sample("z", dist.Exponential(1.0))

    def guide():
        aleator.sample("z", dist.Normal(-5.0, 0.1))

    with pytest.raises(SupportError, match=r"site 'z': the value must lie in the support"):
        Trace_ELBO().loss(model, guide)


def test_an_observed_value_outside_the_support():
    def model():
        aleator.sample("z", dist.Normal(0.0, 1.0))
        aleator.sample("x", dist.Exponential(1.0), obs=torch.tensor(-1.0))

    with pytest.raises(SupportError, match=r"site 'x'.*holds \[-1.0\]"):
        Trace_ELBO().loss(model, program("z"))


def test_a_nan_argument_names_site_argument_and_distribution():
    def model():
        aleator.sample("z", dist.Normal(torch.tensor(float("nan")), 1.0))

    with pytest.raises(ParameterError, match=r"site 'z': Normal expects 'loc' in"):
        Trace_ELBO().loss(model, program("z"))


def test_a_bad_argument_in_an_early_particle_is_reported_too():
    """Looped particles are freed in turn; what was wrong with one of them is not forgotten."""
    turn = iter((-1.0, 1.0, 1.0))

    def model():
        aleator.sample("z", dist.Normal(0.0, torch.tensor(next(turn))))

    with pytest.raises(ParameterError, match=r"earlier particle.*site 'z': Normal 'scale' in"):
        Trace_ELBO(num_particles=3).loss(model, program("z"))


def test_a_misspelt_infer_key_warns_with_the_nearest():
    with pytest.warns(AleatorWarning, match=r"site 'z' has the infer key 'gradeint'.*did you mean 'gradient'"):
        Trace_ELBO().loss(program("z"), program("z", infer={"gradeint": "score"}))


def test_an_enumerate_mark_is_refused():
    """Trace_ELBO would otherwise sample where somebody asked for a sum."""

    def guide():
        aleator.sample("z", dist.Bernoulli(0.5), infer={"enumerate": "parallel"})

    def model():
        aleator.sample("z", dist.Bernoulli(0.5))

    with pytest.warns(AleatorWarning) if not _knows("enumerate") else _nothing():
        with pytest.raises(UnsupportedModelError, match=r"site 'z' asks for enumeration.*TraceEnum_ELBO"):
            Trace_ELBO().loss(model, guide)


def test_unknown_and_impossible_gradient_rules():
    def guide(rule):
        aleator.sample("z", dist.Bernoulli(0.5), infer={"gradient": rule})

    def model(rule):
        aleator.sample("z", dist.Bernoulli(0.5))

    with pytest.raises(
        UnsupportedModelError, match=r"site 'z' asks for the gradient rule 'dreg'.*\['pathwise', 'score', 'stl'\]"
    ):
        Trace_ELBO().loss(model, guide, "dreg")
    with pytest.raises(
        UnsupportedModelError, match=r"guide site 'z' asks for the gradient rule 'pathwise', but Bernoulli"
    ):
        Trace_ELBO().loss(model, guide, "pathwise")
    assert Trace_ELBO().loss(model, guide, "score") == 0.0


def test_minibatches_that_differ():
    """The model states its rows and the guide draws others: parameters of one datum would be fitted to another."""
    data = torch.arange(4.0)

    def batch_model(rows, guides_rows):
        with aleator.plate("data", 4, subsample=rows) as indices:
            z = aleator.sample("z", dist.Normal(0.0, 1.0))
            aleator.sample("x", dist.Normal(z, 1.0), obs=data[indices])

    def batch_guide(rows, guides_rows):
        with aleator.plate("data", 4, subsample_size=2, subsample=guides_rows):
            aleator.sample("z", dist.Normal(0.0, 1.0))

    with pytest.raises(ModelGuideMismatchError, match=r"plate 'data' has another minibatch.*\[0, 1\] and \[2, 1\]"):
        Trace_ELBO().loss(batch_model, batch_guide, [0, 1], [2, 1])
    for same in ([0, 1], torch.tensor([3, 0])):
        assert isinstance(Trace_ELBO().loss(batch_model, batch_guide, same, same), float)


def test_handlers_and_dims_are_clean_after_an_error():
    """The same estimator works on the next pair after each refusal."""
    for options in FORMS:
        estimator = Trace_ELBO(**options)
        with pytest.raises(ModelGuideMismatchError):
            estimator.loss(program("z", "y"), program("z"))
        assert estimator.loss(program("z"), program("z")) == 0.0


def _knows(key):
    from aleator.plugins.infer_keys import known_infer_keys

    return key in known_infer_keys()


def _nothing():
    from contextlib import nullcontext

    return nullcontext()
