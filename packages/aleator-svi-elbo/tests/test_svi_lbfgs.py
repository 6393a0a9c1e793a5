"""LBFGS: several evaluations per step, under one set of random numbers; whole, or not at all."""

from __future__ import annotations

import math

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator.distributions import constraints
from aleator.errors import CheckpointError, NonFiniteError, ParameterError
from aleator.handlers import Messenger
from aleator.infer import AbstractEstimator, Capabilities, Estimate
from aleator.optim import LBFGS, Adam, ExponentialLR
from aleator_svi_elbo import SVI, Trace_ELBO

NAN = float("nan")
DATA = torch.tensor([1.0, 2.0, 4.5], dtype=torch.float64)
# The posterior of a normal mean, prior N(0, 2), noise 0.5: precision 1/4 + 3/0.25, mean (sum/0.25)/precision.
EXACT_SCALE = (1 / 4 + 3 / 0.25) ** -0.5
EXACT_LOC = float(DATA.sum()) / 0.25 * EXACT_SCALE**2

LINE_SEARCH = {"line_search_fn": "strong_wolfe"}


class ClosedForm(AbstractEstimator):
    """The Kullback-Leibler divergence to the exact posterior: a loss without noise."""

    capabilities = Capabilities()

    def estimate(self, model, guide, /, *args, **kwargs):
        with aleator.handlers.trace() as trace:
            guide(*args, **kwargs)
        found = trace.nodes["mu"].fn
        exact = dist.Normal(torch.tensor(EXACT_LOC).double(), torch.tensor(EXACT_SCALE).double())
        loss = dist.kl_divergence(found, exact)
        return Estimate(loss.detach(), loss)


def model(data, trap=0.0):
    mu = aleator.sample("mu", dist.Normal(torch.zeros((), dtype=torch.float64), 2.0))
    with aleator.plate("data", len(data)):
        aleator.sample("x", dist.Normal(mu, 0.5), obs=data)


def guide(data, trap=0.0):
    loc = aleator.param("loc", torch.tensor(0.5, dtype=torch.float64))
    scale = aleator.param("scale", torch.tensor(1.0, dtype=torch.float64), constraint=constraints.positive)
    aleator.sample("mu", dist.Normal(loc, scale))


def svi_of(loss=None, optim=None, model=model, guide=guide, **keywords):
    keywords = {"rng": 0, "progress": False, "num_samples": 0, **keywords}
    return SVI(model, guide, optim or LBFGS(LINE_SEARCH), loss or ClosedForm(), **keywords)


def distance(store):
    return max(abs(store["loc"].item() - EXACT_LOC), abs(store["scale"].item() - EXACT_SCALE))


@pytest.mark.parametrize("options", [LINE_SEARCH, {"lr": 0.1, "max_iter": 60, "max_eval": 100}], ids=["wolfe", "fixed"])
def test_a_loss_without_noise_is_minimized_in_a_few_steps(options):
    """The exact posterior: at 0 steps it is 2.0 away; a step of Adam's comes nowhere near."""
    with aleator.ParamStore() as store:
        svi = svi_of(optim=LBFGS(options))
        svi.evaluate_loss(DATA)
        assert distance(store) > 1.0
        svi.num_steps = 5
        svi.run(DATA)
        assert distance(store) < 1e-4
        assert svi.losses == sorted(svi.losses, reverse=True)
        assert svi.steps_taken == len(svi.losses) == 5
    with aleator.ParamStore() as store:
        svi_of(optim=Adam(lr=0.1), num_steps=5).run(DATA)
        assert distance(store) > 1.0


def test_a_step_returns_the_loss_before_it():
    with aleator.ParamStore():
        svi = svi_of()
        before = svi.evaluate_loss(DATA)
        assert svi.step(DATA) == pytest.approx(before, rel=1e-12)
        assert svi.step(DATA) < before


def test_one_set_of_random_numbers_per_step():
    """Every evaluation of a step sees the same draws; the next step goes on where the first evaluation ended."""
    noise = []

    class Watch(Messenger):
        def postprocess_sample(self, site):
            if site.name == "mu" and site.fn.scale.requires_grad:  # the guide's: the model's is replayed
                noise.append(((site.value - site.fn.loc) / site.fn.scale).detach().item())

    def seen(steps, **keywords):
        noise.clear()
        with aleator.ParamStore(), Watch():
            svi = svi_of(Trace_ELBO(), **keywords)
            counts = []
            for _ in range(steps):
                svi.step(DATA)
                counts.append(len(noise))
        return list(noise), counts

    for keywords in ({}, {"rng": None}):
        aleator.set_rng_seed(0)
        adam, _ = seen(3, optim=Adam(lr=0.01), **keywords)
        aleator.set_rng_seed(0)
        lbfgs, counts = seen(3, **keywords)
        assert counts[0] > 1  # it evaluates several times
        steps = [lbfgs[start:end] for start, end in zip([0, *counts], counts, strict=False)]
        for found, expected in zip(steps, adam, strict=True):
            assert found == pytest.approx([expected] * len(found), abs=1e-12)
        assert len({round(found[0], 9) for found in steps}) == 3


def test_with_noise_it_still_comes_near():
    """Draws are the same within a step, so the line search is not misled; steps follow their own noise."""
    with aleator.ParamStore() as store:
        svi = svi_of(
            Trace_ELBO(num_particles=200, vectorize_particles=True, max_plate_nesting=1),
            optim=LBFGS({"max_iter": 5, **LINE_SEARCH}),
            num_steps=10,
        )
        svi.run(DATA)
        assert distance(store) < 0.1


class Counting(AbstractEstimator):
    """The closed form, with a buffer that says how often its next value was written."""

    capabilities = Capabilities()

    def estimate(self, model, guide, /, *args, **kwargs):
        buffers = aleator.get_param_store().buffers
        count = buffers["baseline/mu"] if "baseline/mu" in buffers else torch.zeros(())
        return Estimate(*_loss_and_surrogate(model, guide, args, kwargs), updates={"baseline/mu": count + 1.0})


def _loss_and_surrogate(model, guide, args, kwargs):
    estimate = ClosedForm().estimate(model, guide, *args, **kwargs)
    return estimate.loss, estimate.surrogate


def test_buffers_move_once_per_step():
    """Next values are those of the first evaluation, also where a module writes its buffers itself."""
    norm = torch.nn.BatchNorm1d(1).double()

    def norm_guide(data, trap=0.0):
        guide(data)
        aleator.module("norm", norm)
        norm(data.reshape(-1, 1))

    with aleator.ParamStore() as store:
        svi = svi_of(Counting(), guide=norm_guide, optim=LBFGS({"max_iter": 3, **LINE_SEARCH}), num_steps=3)
        svi.run(DATA)
        assert store.buffers["baseline/mu"].item() == 3.0
        assert norm.num_batches_tracked.item() == 3


@pytest.mark.parametrize("options", [LINE_SEARCH, {"lr": 0.1}], ids=["wolfe", "fixed"])
@pytest.mark.parametrize("before", [0, 2])
@pytest.mark.parametrize("scheduler", [None, ExponentialLR(gamma=0.9)], ids=["plain", "scheduled"])
def test_a_resumed_run_continues_bit_for_bit(tmp_path, options, before, scheduler):
    optim = LBFGS({"max_iter": 3, **options})
    keywords = {"optim": optim, "scheduler": scheduler, "loss": Trace_ELBO()}
    with aleator.ParamStore() as store:
        whole = svi_of(num_steps=before + 4, **keywords).run(DATA)
        expected = {name: leaf.tolist() for name, leaf in store.named_parameters()}
    with aleator.ParamStore():
        svi_of(num_steps=before, **keywords).run(DATA).save(tmp_path / "run.pt")
    with aleator.ParamStore() as store:
        svi = svi_of(num_steps=4, **{**keywords, "rng": 9})
        svi.load(tmp_path / "run.pt")
        svi.run(DATA)
        assert svi.losses == whole.losses
        assert {name: leaf.tolist() for name, leaf in store.named_parameters()} == expected


def whole_state(svi, store):
    state = svi.optim.state_to_payload(svi._training.state)
    return (
        {name: (id(leaf), leaf.tolist()) for name, leaf in store.named_parameters()},
        {name: (id(buffer), buffer.tolist()) for name, buffer in store.buffers.items()},
        repr(state),
        svi.steps_taken,
        svi._training.source.get_state()["cpu"].tolist(),
        [leaf.grad for _, leaf in store.named_parameters()],
    )


def failing_after(good, fail):
    """A guide that fails at an evaluation after some good ones."""
    calls = iter(range(10**6))

    def failing_guide(data, trap=0.0):
        guide(data)
        if trap and next(calls) >= good:
            fail()

    return failing_guide


def raising():
    raise KeyError("the program's own")


def steep_factor():
    aleator.factor("steep", (0.0 * aleator.param("loc")).sqrt(), has_rsample=True)


def broken_scale():
    dist.Normal(torch.tensor(0.0), torch.tensor(-1.0))


@pytest.mark.parametrize("good", [0, 1, 3])
@pytest.mark.parametrize(
    ("fail", "error", "match"),
    [
        (raising, KeyError, "the program's own"),
        (steep_factor, NonFiniteError, "the gradient of parameter 'loc' holds nan"),
        (broken_scale, ParameterError, "expects 'scale'"),
    ],
)
@pytest.mark.parametrize("steps_before", [0, 2])
def test_a_failed_evaluation_leaves_everything_as_it_was(good, fail, error, match, steps_before):
    """Parameters, curvature, buffers, randomness; and the run goes on as if the step had not been."""
    with aleator.ParamStore() as store:
        svi = svi_of(Trace_ELBO(), optim=LBFGS({"max_iter": 6, **LINE_SEARCH}), guide=failing_after(good, fail))
        for _ in range(steps_before):
            svi.step(DATA)
        before = whole_state(svi, store)
        with pytest.raises(error, match=match):
            svi.step(DATA, 1.0)
        assert whole_state(svi, store) == before
        found = [svi.step(DATA) for _ in range(2)]
    with aleator.ParamStore():
        svi = svi_of(Trace_ELBO(), optim=LBFGS({"max_iter": 6, **LINE_SEARCH}))
        assert [svi.step(DATA) for _ in range(steps_before + 2)][steps_before:] == found


def test_a_move_out_of_all_numbers_is_taken_back():
    """The last move of a step without line search is seen by no evaluation of that step."""
    with aleator.ParamStore() as store:
        svi = svi_of(optim=LBFGS({"lr": 1e308, "max_iter": 1}), guide=steep_guide, loss=SteepLoss())
        svi.evaluate_loss(DATA)
        before = whole_state(svi, store)
        with pytest.raises(NonFiniteError, match=r"LBFGS moved parameter 'loc' .*strong_wolfe"):
            svi.step(DATA)
        assert whole_state(svi, store) == before


class SteepLoss(AbstractEstimator):
    """A loss that falls for ever."""

    capabilities = Capabilities()

    def estimate(self, model, guide, /, *args, **kwargs):
        guide(*args, **kwargs)
        loss = aleator.param("loc")
        return Estimate(loss.detach(), loss)


def steep_guide(data, trap=0.0):
    aleator.param("loc", torch.tensor(-1.5e308, dtype=torch.float64))


def test_a_parameter_that_joins_late_and_one_that_rests():
    def growing_guide(data, late=False):
        guide(data)
        if late:
            aleator.param("late", torch.tensor(2.0, dtype=torch.float64))

    class WithLate(AbstractEstimator):
        capabilities = Capabilities()

        def estimate(self, model, guide, /, *args, **kwargs):
            loss, surrogate = _loss_and_surrogate(model, guide, args, kwargs)
            store = aleator.get_param_store()
            extra = (store["late"] - 3.0) ** 2 if kwargs else 0.0
            return Estimate((loss + extra).detach(), surrogate + extra)

    with aleator.ParamStore() as store:
        svi = svi_of(WithLate(), guide=growing_guide, model=lambda data, late=False: None)
        svi.step(DATA)
        for _ in range(4):
            svi.step(DATA, late=True)
        assert store["late"].item() == pytest.approx(3.0, abs=1e-4)
        assert distance(store) < 1e-4


def test_a_callable_that_adds_to_grad():
    """Evaluated again and again, it must not find there what it added before."""

    def loss_and_grads(model, guide, *args):
        estimate = ClosedForm().estimate(model, guide, *args)
        estimate.surrogate.backward()
        return estimate.loss.item()

    with aleator.ParamStore() as store:
        svi = SVI(
            model,
            guide,
            LBFGS(LINE_SEARCH),
            lambda *args: ClosedForm().estimate(*args).surrogate,
            loss_and_grads,
            rng=0,
            progress=False,
        )
        for _ in range(5):
            svi.step(DATA)
        assert distance(store) < 1e-5
        assert all(leaf.grad is None for _, leaf in store.named_parameters())


def test_under_no_grad_and_inference_mode_a_step_is_a_step():
    for context in (torch.no_grad, torch.inference_mode):
        with aleator.ParamStore() as store:
            svi = svi_of()
            with context():
                svi.step(DATA)
                svi.step(DATA)
            for _ in range(3):
                svi.step(DATA)
            assert distance(store) < 1e-5


def test_an_infinite_trial_is_no_failure():
    """A line search may look where the loss is infinite, and comes back."""

    class Walled(AbstractEstimator):
        capabilities = Capabilities()

        def estimate(self, model, guide, /, *args, **kwargs):
            loss, surrogate = _loss_and_surrogate(model, guide, args, kwargs)
            beyond = aleator.get_param_store()["loc"].detach() > EXACT_LOC + 0.1
            wall = torch.where(beyond, math.inf, 0.0)
            return Estimate(loss + wall, surrogate)

    with aleator.ParamStore() as store:
        svi = svi_of(Walled())
        for _ in range(8):
            svi.step(DATA)
        assert distance(store) < 0.2


def test_a_file_of_curvature_that_does_not_fit(tmp_path):
    from aleator.params.files import read_checkpoint, write_checkpoint

    path = tmp_path / "run.pt"
    with aleator.ParamStore() as store:
        svi = svi_of(num_steps=2).run(DATA)
        svi.save(path)
        content = read_checkpoint(path, "aleator.svi-run")
        state = content["optimizer"]["torch"]["state"][0]
        before = whole_state(svi, store)
        for key, value in [
            ("d", torch.zeros(5, dtype=torch.float64)),
            ("prev_flat_grad", torch.zeros(2)),
            ("old_dirs", [torch.zeros(3, dtype=torch.float64)]),
            ("old_stps", "none"),
            ("ro", [NAN, "x"]),
            ("n_iter", -1),
            ("func_evals", "many"),
            ("unknown", 1),
        ]:
            kept = dict(state)
            state[key] = value
            write_checkpoint(path, content, "aleator.svi-run")
            with pytest.raises(CheckpointError, match="LBFGS"):
                svi.load(path)
            assert whole_state(svi, store) == before
            state.clear()
            state.update(kept)
