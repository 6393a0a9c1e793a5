"""Steps and runs: convergence, keywords, parameters that come and go, modules."""

from __future__ import annotations

import io
import math
import sys
import threading

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator.optim import SGD, Adam, ExponentialLR
from aleator.randomness import RandomSource
from aleator_svi_elbo import SVI, EarlyStopping, Trace_ELBO
from weighing import EXACT_LOC, EXACT_SCALE, GUESS, guide, model, values


def svi_of(**keywords):
    keywords = {"rng": 0, "progress": False, **keywords}
    return SVI(model, guide, keywords.pop("optim", Adam(lr=0.02)), keywords.pop("loss", Trace_ELBO()), **keywords)


def distance(store):
    return max(abs(float(store["loc"].detach()) - EXACT_LOC), abs(float(store["scale"].detach()) - EXACT_SCALE))


@pytest.mark.parametrize("options", [{}, {"num_particles": 2}, {"num_particles": 4, "vectorize_particles": True}])
def test_a_run_ends_at_the_exact_posterior(options):
    """At 0 steps the distance is 0.64; a zero or flipped gradient stays there or runs away."""
    with aleator.ParamStore() as store:
        svi = svi_of(loss=Trace_ELBO(**options), num_samples=0)
        svi.evaluate_loss(GUESS)
        assert distance(store) > 0.35
        svi.num_steps = 400
        svi.run(GUESS)
        assert distance(store) < 0.1


def test_step_returns_the_loss_before_the_update():
    """What evaluate_loss gives for the same draw at the same parameters."""
    with aleator.ParamStore():
        evaluated = svi_of(rng=3).evaluate_loss(GUESS)
    with aleator.ParamStore() as store:
        svi = svi_of(rng=3)
        stepped = svi.step(GUESS)
        assert stepped == pytest.approx(evaluated, rel=1e-6)
        assert isinstance(stepped, float)
        assert all(leaf.grad is None for _, leaf in store.named_parameters())
        assert svi.steps_taken == 1


@pytest.mark.parametrize("source", [0, "generator", "source"])
def test_one_seed_gives_one_run(source):
    """Bit for bit, in each form of rng; torch's own stream is neither read nor moved."""

    def one():
        made = {"generator": torch.Generator().manual_seed(0), "source": RandomSource(0)}.get(source, source)
        with aleator.ParamStore() as store:
            svi = svi_of(rng=made, num_steps=20)
            svi.run(GUESS)
            return svi.losses, values(store), svi.draws.values["weight"]

    before = torch.get_rng_state()
    first, second = one(), one()
    assert torch.equal(before, torch.get_rng_state())
    assert first[0] == second[0]
    assert all(torch.equal(first[1][name], second[1][name]) for name in first[1])
    assert torch.equal(first[2], second[2])


def test_without_a_source_the_contexts_stream_is_used():
    def one(seed):
        aleator.set_rng_seed(seed)
        with aleator.ParamStore():
            return [svi.step(GUESS) for svi in [svi_of(rng=None)] for _ in range(5)]

    assert one(0) == one(0)
    assert one(0) != one(1)


def test_eight_threads_equal_single_runs():
    """Each with its own seed and store gives bit for bit what it gives alone."""

    def train(seed):
        with aleator.ParamStore() as store:
            svi = svi_of(rng=seed, num_steps=30, num_samples=3, loss=Trace_ELBO(num_particles=2))
            svi.run(GUESS)
            return svi.losses, float(store.unconstrained("loc").detach()), svi.draws.values["weight"].tolist()

    found = {}
    threads = [threading.Thread(target=lambda seed=seed: found.update({seed: train(seed)})) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {seed: train(seed) for seed in range(8)}
    assert len({loc for _, loc, _ in found.values()}) == 8


def test_run_passes_its_arguments_on_and_continues():
    seen = []

    def watching_model(guess, *, extra):
        seen.append(extra)
        return model(guess)

    def watching_guide(guess, *, extra):
        guide(guess)

    with aleator.ParamStore():
        svi = SVI(
            watching_model, watching_guide, Adam(lr=0.01), Trace_ELBO(), num_steps=3, num_samples=2, progress=False
        )
        assert svi.run(GUESS, extra="x") is svi
        assert seen == ["x"] * 5
        assert (svi.steps_taken, len(svi.losses), len(svi.exec_traces)) == (3, 3, 2)
        svi.run(GUESS, extra="y")
        assert (svi.steps_taken, len(svi.losses), len(svi.exec_traces)) == (6, 6, 2)


def test_run_without_steps_only_draws():
    with aleator.ParamStore():
        svi = svi_of().run(GUESS)
        assert svi.losses == []
        assert svi.draws.values["weight"].shape == (10,)
        assert not svi.draws.values["weight"].requires_grad
        assert svi.log_weights.tolist() == [0.0] * 10


def test_progress(monkeypatch):
    shown = io.StringIO()
    monkeypatch.setattr(sys, "stderr", shown)
    with aleator.ParamStore():
        svi_of(num_steps=2, num_samples=0, progress=False).run(GUESS)
        assert shown.getvalue() == ""
        svi_of(num_steps=2, num_samples=0, progress=True).run(GUESS)
    assert "SVI" in shown.getvalue()
    assert "2/2" in shown.getvalue()


def test_callback_every():
    calls = []
    with aleator.ParamStore():
        svi = svi_of(
            num_steps=10, num_samples=0, callback=lambda step, loss: calls.append((step, loss)), callback_every=4
        )
        svi.run(GUESS)
        svi.run(GUESS)
    assert [step for step, _ in calls] == [4, 8, 12, 16, 20]
    assert [loss for _, loss in calls] == [svi.losses[step - 1] for step, _ in calls]


def test_early_stopping():
    """A loss that cannot fall stops after patience + 1 windows; one that falls goes on."""
    with aleator.ParamStore():
        still = svi_of(
            optim=SGD(lr=1e-12),
            num_steps=100,
            num_samples=0,
            early_stopping=EarlyStopping(patience=2, window=5, min_delta=50.0),
        )
        still.run(GUESS)
    assert still.steps_taken == 15
    assert not EarlyStopping(patience=1, window=2).is_due([4.0, 4.0, 3.0, 3.0, 2.0, 2.0])
    assert EarlyStopping(patience=1, window=2).is_due([4.0, 4.0, 4.0, 4.0])
    assert not EarlyStopping(patience=1, window=2).is_due([4.0, 4.0, 4.0])
    for bad in ({"patience": 0}, {"window": 0}, {"min_delta": -1.0}):
        with pytest.raises(ValueError, match="EarlyStopping expects"):
            EarlyStopping(**bad)


def test_a_schedule_moves_once_per_step_of_run():
    """With the rate halved at each step, SGD moves in total by at most twice its first step."""
    with aleator.ParamStore() as store:
        svi = svi_of(optim=SGD(lr=0.1), scheduler=ExponentialLR(gamma=0.5), num_steps=4, num_samples=0)
        svi.run(GUESS)
        rate = svi.optim.learning_rate(svi._training.state, "loc")
        assert float(rate) == pytest.approx(0.1 * 0.5**4)
        svi.step(GUESS)
        assert float(svi.optim.learning_rate(svi._training.state, "loc")) == pytest.approx(0.1 * 0.5**4)
        svi.scheduler_step()
        assert float(svi.optim.learning_rate(svi._training.state, "loc")) == pytest.approx(0.1 * 0.5**5)
        assert "loc" in store


def test_parameters_that_come_later_join():
    """The first steps know one parameter; the new one starts with a state of its own."""

    def growing_guide(late):
        loc = aleator.param("loc", torch.tensor(0.0))
        if late:
            loc = loc + aleator.param("late", torch.tensor(0.0))
        aleator.sample("z", dist.Normal(loc, 1.0))

    def growing_model(late):
        aleator.sample("z", dist.Normal(5.0, 1.0))

    with aleator.ParamStore() as store:
        svi = SVI(growing_model, growing_guide, Adam(lr=0.1), Trace_ELBO(), rng=0, progress=False)
        for _ in range(3):
            svi.step(False)
        svi.step(True)
        assert float(store["late"].detach()) == pytest.approx(0.1, rel=1e-4)
        untouched = store["late"].detach().clone()
        svi.step(False)
        assert torch.equal(store["late"].detach(), untouched)


@pytest.mark.parametrize("optim", [Adam(lr=0.1), torch.optim.Adam], ids=["pure", "torch"])
def test_a_cleared_store_starts_the_optimizer_anew(optim):
    """Momentum of old leaves must not move new ones: after a clear the run goes as a fresh one does."""

    def steps(svi, count):
        return [svi.step(GUESS) for _ in range(count)]

    with aleator.ParamStore() as store:
        steps(svi_of(optim=optim, rng=5), 4)
        fresh = values(store)
    with aleator.ParamStore() as store:
        svi = svi_of(optim=optim, rng=1)
        steps(svi, 7)
        store.clear()
        svi._training.source.seed(5)
        steps(svi, 4)
        found = values(store)
    assert all(torch.equal(fresh[name], found[name]) for name in fresh)


def test_one_replaced_parameter_leaves_the_others_their_state():
    """A leaf of another shape under an old name begins anew; its neighbour keeps its momentum."""

    def two_guide(size):
        aleator.sample("a", dist.Normal(aleator.param("a_loc", torch.tensor(0.0)), 1.0))
        aleator.sample("b", dist.Normal(aleator.param("b_loc", lambda: torch.zeros(size)), 1.0).to_event(1))

    def two_model(size):
        aleator.sample("a", dist.Normal(3.0, 1.0))
        aleator.sample("b", dist.Normal(torch.ones(size), 1.0).to_event(1))

    with aleator.ParamStore() as store:
        svi = SVI(two_model, two_guide, Adam(lr=0.1), Trace_ELBO(), rng=0, progress=False)
        for _ in range(5):
            svi.step(2)
        del store["b_loc"]
        svi.step(3)
        slots = svi._training.state.slots
        assert float(slots["a_loc"]["step"]) == 6.0
        assert float(slots["b_loc"]["step"]) == 1.0
        assert store["b_loc"].shape == (3,)


def test_a_module_is_trained_in_place():
    """The user's own module: its Parameters are the store's leaves, and they move."""
    net = torch.nn.Linear(1, 1)
    before = {name: parameter.detach().clone() for name, parameter in net.named_parameters()}

    def net_guide(x):
        aleator.module("net", net)
        aleator.sample("z", dist.Normal(net(x).squeeze(), 1.0))

    def net_model(x):
        aleator.sample("z", dist.Normal(3.0, 1.0))

    with aleator.ParamStore() as store:
        svi = SVI(
            net_model, net_guide, Adam(lr=0.05), Trace_ELBO(), rng=0, num_steps=150, num_samples=0, progress=False
        )
        svi.run(torch.ones(1))
        assert store.unconstrained("net$$$weight") is net.weight
        assert all(not torch.equal(before[name], parameter) for name, parameter in net.named_parameters())
        assert abs(float(net(torch.ones(1)).detach()) - 3.0) < 0.6
        assert net.weight.grad is None


def test_two_runs_share_an_optimizer_and_an_estimator():
    """Interleaved, each run goes as it does alone: their configuration holds no state."""
    adam, elbo = Adam(lr=0.1), Trace_ELBO()

    def alone(seed):
        with aleator.ParamStore() as store:
            svi = svi_of(optim=adam, loss=elbo, rng=seed)
            return [svi.step(GUESS) for _ in range(5)], values(store)

    expected = [alone(seed) for seed in (0, 1)]
    stores = [aleator.ParamStore() for _ in range(2)]
    runs = [svi_of(optim=adam, loss=elbo, rng=seed) for seed in (0, 1)]
    losses = [[], []]
    for _ in range(5):
        for store, svi, found in zip(stores, runs, losses, strict=True):
            with store:
                found.append(svi.step(GUESS))
    for (expected_losses, expected_values), store, found in zip(expected, stores, losses, strict=True):
        assert found == expected_losses
        assert all(torch.equal(expected_values[name], value) for name, value in values(store).items())


@pytest.mark.parametrize("optim", [Adam(lr=0.1), torch.optim.Adam], ids=["pure", "torch"])
@pytest.mark.parametrize("context", [torch.no_grad, torch.inference_mode])
def test_a_step_under_no_grad_is_still_a_step(context, optim):
    """Otherwise it would count, return a loss and move nothing."""
    with aleator.ParamStore() as store:
        svi = svi_of(optim=optim)
        for _ in range(4):
            svi.step(GUESS)
        expected = values(store)
    with aleator.ParamStore() as store:
        svi = svi_of(optim=optim)
        with context():
            svi.step(GUESS)
            svi.step(GUESS)
            svi.step(GUESS)
        svi.step(GUESS)  # what the steps made must be of use outside as well
        found = values(store)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_the_loss_is_finite_and_falls():
    with aleator.ParamStore():
        svi = svi_of(num_steps=300, num_samples=0)
        svi.run(GUESS)
    assert all(math.isfinite(loss) for loss in svi.losses)
    assert sum(svi.losses[-100:]) < sum(svi.losses[:100])
