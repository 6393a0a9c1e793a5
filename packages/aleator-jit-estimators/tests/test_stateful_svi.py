"""``SVI(..., compile=...)`` is the eager run: with parameters that change hands, with files, with schedules."""

from __future__ import annotations

import warnings

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator.distributions import constraints
from aleator.errors import AleatorWarning, ParameterError
from aleator.infer import SVI, Trace_ELBO, TraceGraph_ELBO
from aleator.optim import SGD, Adam, ClippedAdam, ExponentialLR

DATA = torch.tensor([1.0, 2.5, -0.5, 0.3, 1.7])


def model(data, scale=1.0):
    loc = aleator.sample("loc", dist.Normal(0.0, 5.0))
    with aleator.plate("data", data.shape[0]):
        aleator.sample("x", dist.Normal(loc, scale), obs=data)


def guide(data, scale=1.0):
    loc = aleator.param("q_loc", torch.tensor(0.5))
    spread = aleator.param("q_scale", torch.tensor(2.0), constraint=constraints.positive)
    aleator.sample("loc", dist.Normal(loc, spread))


def make(compile=False, optim=None, **options):
    return SVI(model, guide, optim or Adam(lr=0.05), Trace_ELBO(), rng=0, progress=False, compile=compile, **options)


def both(run, optim=None, **options):
    """Return what a run gives eager and compiled, with the parameters it ends with, and the compiled SVI."""
    results = []
    for compile in (False, "eager"):
        with aleator.ParamStore() as store:
            svi = make(compile, optim and optim(), **options)
            losses = run(svi, store)
            results.append((losses, {name: store[name].detach().clone() for name in sorted(store)}))
    torch.testing.assert_close(results[0], results[1], rtol=1e-5, atol=1e-5)
    return results[1], svi


def test_steps_are_the_eager_ones_and_compile_once():
    """SEMANTICS 77, 78."""
    _, svi = both(lambda svi, store: [svi.step(DATA) for _ in range(8)])
    assert svi.compile_report().captured == 1
    report = svi.compile_report()
    assert report.eager == ()
    assert 0.0 < report.compiled_step
    assert 0.0 < report.eager_step
    assert report.break_even > 0.0
    assert "graphs recorded 1, built 1" in str(report)
    assert svi.steps_taken == 8


def test_run_takes_compiled_steps_and_gives_a_posterior():
    def run(svi, store):
        svi.run(DATA)
        return svi.losses

    (losses, _), svi = both(run, num_steps=12, num_samples=3)
    assert len(losses) == 12
    assert len(svi.exec_traces) == 3
    assert svi.compile_report().captured == 1


def test_shapes_and_keywords_are_programs_of_their_own():
    """SEMANTICS 78: a last short batch compiles once more, a number in the keywords too, a tensor in them does not."""

    def run(svi, store):
        losses = []
        for scale in (torch.tensor(1.0), torch.tensor(2.0), 3.0):
            for batch in (DATA, DATA + 1.0, DATA[:2]):
                losses.append(svi.step(batch, scale=scale))
        return losses

    _, svi = both(run)
    assert svi.compile_report().captured == 4


def test_assigned_and_deleted_parameters_are_seen():
    """Catches a step on parameters of its own: ``store[...] = `` between two steps counts, and so does ``clear``."""

    def run(svi, store):
        losses = [svi.step(DATA) for _ in range(3)]
        store["q_loc"] = torch.tensor(4.0)
        losses += [svi.step(DATA) for _ in range(3)]
        store.clear()
        losses += [svi.step(DATA) for _ in range(3)]
        del store["q_scale"]
        losses += [svi.step(DATA) for _ in range(3)]
        return losses

    both(run)


def test_leaves_keep_their_identity():
    with aleator.ParamStore() as store:
        svi = make("eager")
        svi.step(DATA)
        leaf = store.unconstrained("q_loc")
        before = leaf.detach().clone()
        svi.step(DATA)
        svi.step(DATA)
        assert store.unconstrained("q_loc") is leaf
        assert leaf.detach() != before
        assert leaf.requires_grad


def test_parameters_that_appear_later_join():
    """Catches a parameter that stays at its first value, because the compiled step does not know it."""

    def late_guide(wide):
        loc = aleator.param("q", torch.tensor(0.5))
        if wide:
            loc = loc + aleator.param("more", torch.tensor(0.1))
        aleator.sample("loc", dist.Normal(loc, 1.0))

    def late_model(wide):
        aleator.sample("loc", dist.Normal(3.0, 1.0))

    results = []
    for compile in (False, "eager"):
        with aleator.ParamStore() as store:
            svi = SVI(late_model, late_guide, Adam(lr=0.05), Trace_ELBO(), rng=0, progress=False, compile=compile)
            losses = [svi.step(wide) for wide in (False, False, True, True, False, True, True)]
            results.append((losses, {name: store[name].detach().clone() for name in sorted(store)}))
    torch.testing.assert_close(results[0], results[1], rtol=1e-5, atol=1e-5)
    assert results[1][1]["more"].item() != pytest.approx(0.1)


def test_two_runs_share_a_store():
    """SEMANTICS 78: each has its own code; the parameters of the other are left alone."""

    def other_guide(data):
        aleator.sample("loc", dist.Normal(aleator.param("r_loc", torch.tensor(-1.0)), 1.0))

    results = []
    for compile in (False, "eager"):
        with aleator.ParamStore() as store:
            loss = Trace_ELBO()
            one = SVI(model, guide, Adam(lr=0.05), loss, rng=0, progress=False, compile=compile)
            two = SVI(model, other_guide, Adam(lr=0.05), loss, rng=1, progress=False, compile=compile)
            losses = [svi.step(DATA) for _ in range(4) for svi in (one, two)]
            results.append((losses, {name: store[name].detach().clone() for name in sorted(store)}))
    torch.testing.assert_close(results[0], results[1], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("optim", [lambda: SGD(lr=0.01, momentum=0.9), lambda: ClippedAdam(lr=0.05, lrd=0.9)])
def test_other_optimizers_and_schedules(optim):
    """Catches a learning rate that stays in the graph as a number: a schedule must not compile once an epoch."""
    schedule = ExponentialLR(gamma=0.5)

    def run(svi, store):
        svi.run(DATA)
        return svi.losses

    _, svi = both(run, optim=optim, scheduler=schedule, num_steps=6, num_samples=0)
    assert svi.compile_report().captured == 1


def test_saved_runs_continue(tmp_path):
    """Catches optimizer state that files cannot hold, and steps on what was there before ``load``."""
    file = tmp_path / "run"
    results = []
    for compile in (False, "eager"):
        with aleator.ParamStore() as store:
            svi = make(compile)
            losses = [svi.step(DATA) for _ in range(4)]
            svi.save(file)
            losses += [svi.step(DATA) for _ in range(3)]
            svi.load(file)
            losses += [svi.step(DATA) for _ in range(3)]
            assert losses[4:7] == pytest.approx(losses[7:])
        with aleator.ParamStore() as store:
            svi = make(compile)
            svi.load(file)
            losses += [svi.step(DATA) for _ in range(3)]
            results.append((losses, {name: store[name].detach().clone() for name in sorted(store)}))
    torch.testing.assert_close(results[0], results[1], rtol=1e-5, atol=1e-5)


def test_buffers_of_baselines_move_on():
    """Catches baselines whose running averages stay at their first value."""

    def coin_model():
        aleator.sample("z", dist.Bernoulli(torch.tensor(0.3)))

    def coin_guide():
        logit = aleator.param("logit", torch.tensor(0.2))
        aleator.sample("z", dist.Bernoulli(logits=logit), infer={"baseline": {"use_decaying_avg_baseline": True}})

    results = []
    for compile in (False, "eager"):
        with aleator.ParamStore() as store:
            svi = SVI(coin_model, coin_guide, Adam(lr=0.05), TraceGraph_ELBO(), rng=0, progress=False, compile=compile)
            losses = [svi.step() for _ in range(6)]
            results.append((losses, {**dict(store.buffers.items()), "logit": store["logit"].detach()}))
    torch.testing.assert_close(results[0], results[1], rtol=1e-5, atol=1e-5)


def test_a_step_that_gives_nan_says_why_and_changes_nothing():
    """Catches NaN written into parameters: the step is taken again as it is, under the same draws, and raises."""

    def edge_model(edge):
        z = aleator.sample("z", dist.Normal(0.0, 1.0))
        aleator.factor("edge", (edge - edge) / edge * z)

    def edge_guide(edge):
        aleator.sample("z", dist.Normal(aleator.param("loc", torch.tensor(1.0)), 1.0))

    with aleator.ParamStore() as store:
        svi = SVI(edge_model, edge_guide, Adam(lr=0.05), Trace_ELBO(), rng=0, progress=False, compile="eager")
        for _ in range(3):
            svi.step(torch.tensor(1.0))
        before = store["loc"].detach().clone()
        with pytest.raises(ParameterError, match="log_factor"):
            svi.step(torch.tensor(0.0))
        assert store["loc"].detach() == before
        assert svi.steps_taken == 3
        svi.step(torch.tensor(1.0))
        assert svi.compile_report().eager == ()


def test_torch_optimizers_compile_loss_and_gradient_and_say_so():
    with aleator.ParamStore(), pytest.warns(AleatorWarning, match="no pure form"):
        svi = SVI(model, guide, torch.optim.Adam, Trace_ELBO(), rng=0, progress=False, compile="eager")
    with aleator.ParamStore() as store, warnings.catch_warnings():
        warnings.simplefilter("error")
        losses = [svi.step(DATA) for _ in range(4)]
        found = store["q_loc"].detach()
    with aleator.ParamStore() as store:
        eager = SVI(model, guide, torch.optim.Adam, Trace_ELBO(), rng=0, progress=False)
        assert losses == pytest.approx([eager.step(DATA) for _ in range(4)], rel=1e-5)
        torch.testing.assert_close(found, store["q_loc"].detach())
    assert svi.compile_report().captured == 1


def test_what_does_not_go_together_is_said():
    with pytest.raises(ValueError, match="exclude each other"):
        SVI(model, guide, Adam(lr=0.1), Trace_ELBO(), loss_and_grads=lambda *args: 0.0, compile=True)
    with pytest.raises(ValueError, match="backend must be one of"):
        make("fastest")
    with pytest.raises(TypeError, match="is not compiled"):
        make().compile_report()


def test_handlers_around_a_step_are_obeyed():
    """Catches compiled code that runs where a handler wants the sites."""
    with aleator.ParamStore():
        svi = make("eager")
        for _ in range(3):
            svi.step(DATA)
        with aleator.handlers.scale(scale=2.0):
            found = svi.step(DATA)
    with aleator.ParamStore():
        eager = make()
        for _ in range(3):
            eager.step(DATA)
        with aleator.handlers.scale(scale=2.0):
            assert found == pytest.approx(eager.step(DATA), rel=1e-5)
