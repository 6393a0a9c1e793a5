"""A step that fails names its culprit, changes nothing, and the next step works."""

from __future__ import annotations

import math

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator.distributions import constraints
from aleator.errors import ModelGuideMismatchError, NonFiniteError, ParameterError, SupportError
from aleator.optim import Adam
from aleator_svi_elbo import SVI, Trace_ELBO

NAN = float("nan")


def model(data, weight=0.0):
    z = aleator.sample("z", dist.Normal(0.0, 1.0))
    with aleator.plate("data", 2):
        aleator.sample("x", dist.Normal(z, 1.0), obs=data)
    aleator.factor("penalty", weight)


def guide(data, weight=0.0):
    loc = aleator.param("loc", torch.tensor(0.5))
    scale = aleator.param("scale", torch.tensor(1.0), constraint=constraints.positive)
    aleator.sample("z", dist.Normal(loc, scale))


GOOD = torch.tensor([1.0, 2.0])


def flat(svi, store):
    """Everything that a step writes, as plain values."""
    payload = svi.optim.state_to_payload(svi._training.state)
    return (
        {name: leaf.tolist() for name, leaf in store.named_parameters()},
        repr(payload),
        svi.steps_taken,
        list(svi.losses),
        {name: buffer.tolist() for name, buffer in store.buffers.items()},
        [leaf.grad for _, leaf in store.named_parameters()],
    )


def fails_and_recovers(error, match, *args, model=model, guide=guide, loss=None, optim=None):
    """A good step, a step that raises and changes nothing, and a good step again."""
    with aleator.ParamStore() as store:
        svi = SVI(model, guide, optim or Adam(lr=0.1), loss or Trace_ELBO(), rng=0, progress=False)
        svi.step(GOOD)
        before = flat(svi, store)
        with pytest.raises(error, match=match):
            svi.step(*args)
        assert flat(svi, store) == before
        assert math.isfinite(svi.step(GOOD))
        assert svi.steps_taken == 2
        after = flat(svi, store)
        assert after[0] != before[0]


FORMS = [
    pytest.param(Trace_ELBO(), id="one"),
    pytest.param(Trace_ELBO(num_particles=2), id="looped"),
    pytest.param(Trace_ELBO(num_particles=2, vectorize_particles=True), id="vectorized"),
]


@pytest.mark.parametrize("loss", FORMS)
@pytest.mark.parametrize("optim", [Adam(lr=0.1), torch.optim.Adam], ids=["pure", "torch"])
def test_nan_data(loss, optim):
    fails_and_recovers(
        SupportError, r"site 'x'.*must lie in the support", torch.tensor([NAN, 1.0]), loss=loss, optim=optim
    )


@pytest.mark.parametrize("loss", FORMS)
def test_a_nan_term_names_site_and_side(loss):
    with aleator.validation_enabled(False):
        fails_and_recovers(
            NonFiniteError, r"the loss is NaN.*site 'x' in the model is nan", torch.tensor([NAN, 1.0]), loss=loss
        )


def test_a_nan_term_of_an_early_particle_is_not_blamed_on_nobody():
    """Looped particles are freed in turn: the message says so, where the last one is fine."""
    turn = iter([0.0] * 4 + [NAN] + [0.0] * 8)

    def turning_model(data, weight=0.0):
        model(data, next(turn))

    with aleator.validation_enabled(False):
        with aleator.ParamStore():
            svi = SVI(turning_model, guide, Adam(lr=0.1), Trace_ELBO(num_particles=4), rng=0, progress=False)
            svi.step(GOOD)
            with pytest.raises(NonFiniteError, match=r"the loss is NaN: .*earlier particle"):
                svi.step(GOOD)
            assert svi.steps_taken == 1


def test_a_nan_parameter_is_named():
    with aleator.ParamStore() as store:
        svi = SVI(model, guide, Adam(lr=0.1), Trace_ELBO(), rng=0, progress=False)
        svi.step(GOOD)
        with torch.no_grad():
            store.unconstrained("loc").fill_(NAN)
        with pytest.raises(ParameterError, match=r"site 'z': Normal expects 'loc'"):
            svi.step(GOOD)
        with aleator.validation_enabled(False), pytest.raises(NonFiniteError, match="parameter 'loc' holds nan"):
            svi.step(GOOD)
        assert svi.steps_taken == 1
        store["loc"] = torch.tensor(0.0)
        assert math.isfinite(svi.step(GOOD))


def test_an_infinite_term_is_returned_while_its_gradient_is_finite():
    """Minus infinity as a log-probability is a fact about the model; the step is taken."""
    with aleator.ParamStore():
        svi = SVI(model, guide, Adam(lr=0.1), Trace_ELBO(), rng=0, progress=False)
        assert svi.step(GOOD, torch.tensor(-math.inf)) == math.inf
        assert svi.steps_taken == 1


def test_a_nan_gradient_of_a_finite_loss():
    """sqrt at 0 behind a where: the loss is finite, the gradient NaN."""

    def steep_guide(data, weight=0.0):
        loc = aleator.param("loc", torch.tensor(0.5))
        gap = aleator.param("gap", torch.tensor(1.0))
        if weight:
            gap = gap * 0.0
        aleator.sample("z", dist.Normal(loc + torch.where(gap > 0, gap.sqrt(), 0.0 * gap), 1.0))

    def plain_model(data, weight=0.0):
        model(data)

    fails_and_recovers(
        NonFiniteError,
        r"the gradient of parameter 'gap' holds nan while the loss is",
        GOOD,
        1.0,
        model=plain_model,
        guide=steep_guide,
    )


def test_a_mismatch_in_a_later_step():
    def growing_model(data, weight=0.0):
        model(data)
        if weight:
            aleator.sample("y", dist.Normal(0.0, 1.0))

    fails_and_recovers(ModelGuideMismatchError, r"\['y'\] are not in the guide", GOOD, 1.0, model=growing_model)


def test_an_exception_of_the_program_itself():
    def raising_model(data, weight=0.0):
        model(data)
        if weight:
            raise KeyError("the program's own")

    fails_and_recovers(KeyError, "the program's own", GOOD, 1.0, model=raising_model)


def test_a_failed_first_step_leaves_a_run_that_works():
    with aleator.ParamStore():
        svi = SVI(model, guide, Adam(lr=0.1), Trace_ELBO(), rng=0, progress=False)
        with pytest.raises(SupportError):
            svi.step(torch.tensor([NAN, 0.0]))
        assert svi.steps_taken == 0
        assert math.isfinite(svi.step(GOOD))


def test_validation_off_checks_less_and_still_catches_nan():
    with aleator.validation_enabled(False), aleator.ParamStore():
        svi = SVI(model, guide, Adam(lr=0.1), Trace_ELBO(), rng=0, progress=False)
        with pytest.raises(NonFiniteError, match="the loss is NaN"):
            svi.step(torch.tensor([NAN, 0.0]))


def test_large_finite_gradients_are_no_error():
    """A sum of gradients that overflows single precision is no NaN of a parameter."""

    def steep_model(data, weight=0.0):
        aleator.sample("z", dist.Normal(0.0, 1.0))

    def steep_guide(data, weight=0.0):
        loc = aleator.param("loc", torch.zeros(4))
        z = aleator.sample("z", dist.Normal(0.0, 1.0))
        aleator.factor("steep", (loc * 3e38).sum() * 0.5 + 0.0 * z, has_rsample=True)

    with aleator.ParamStore() as store:
        svi = SVI(steep_model, steep_guide, Adam(lr=0.1), Trace_ELBO(), rng=0, progress=False)
        svi.step(GOOD)
        assert store["loc"].isfinite().all()
        assert svi.steps_taken == 1


def test_evaluate_loss_and_run_report_the_same():
    with aleator.ParamStore():
        svi = SVI(model, guide, Adam(lr=0.1), Trace_ELBO(), rng=0, num_steps=2, progress=False)
        with pytest.raises(SupportError, match="site 'x'"):
            svi.evaluate_loss(torch.tensor([NAN, 0.0]))
        with pytest.raises(SupportError, match="site 'x'"):
            svi.run(torch.tensor([NAN, 0.0]))
        assert (svi.steps_taken, svi.losses) == (0, [])
        svi.run(GOOD)
        assert svi.steps_taken == 2


def test_a_nan_without_a_culprit_is_explained():
    """Two infinite terms of opposite sign: no site is NaN by itself; vectorized particles are all looked at."""

    def torn_model(data, weight=0.0):
        aleator.sample("z", dist.Normal(0.0, 1.0))
        aleator.factor("up", torch.tensor(math.inf))
        aleator.factor("down", torch.tensor(-math.inf))

    for loss in (Trace_ELBO(), Trace_ELBO(num_particles=2, vectorize_particles=True)):
        with aleator.ParamStore():
            svi = SVI(torn_model, guide, Adam(lr=0.1), loss, rng=0, progress=False)
            with pytest.raises(
                NonFiniteError, match=r"log_prob of site 'up' in the model is inf; .*'down' in the model"
            ):
                svi.step(GOOD)
