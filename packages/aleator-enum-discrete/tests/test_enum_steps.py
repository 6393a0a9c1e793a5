"""Enumeration in steps: handled guides, graphs that are freed, parameters that learn."""

import gc

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator import handlers
from aleator.infer import ELBO, SVI, TraceEnum_ELBO, config_enumerate
from aleator.optim import Adam

DATA = torch.tensor([-2.1, -1.9, 2.0, 2.2])


@config_enumerate
def mixture():
    locs = aleator.param("locs", torch.tensor([-0.5, 0.5]))
    with aleator.plate("rows", 4):
        z = aleator.sample("z", dist.Categorical(torch.ones(2)))
        aleator.sample("x", dist.Normal(locs[z], 0.5), obs=DATA)


def nothing():
    """A guide without sites."""


def test_the_front_door():
    assert ELBO(enum_discrete=True, max_plate_nesting=1) == TraceEnum_ELBO(max_plate_nesting=1)


def test_clusters_are_found():
    """Maximum likelihood through the sum; not true of the start."""
    with aleator.ParamStore() as store:
        svi = SVI(mixture, nothing, Adam(lr=0.05), TraceEnum_ELBO(max_plate_nesting=1), progress=False)
        svi.step()
        assert (store["locs"] - torch.tensor([-2.0, 2.1])).abs().max() > 1.0
        for _ in range(200):
            svi.step()
        torch.testing.assert_close(store["locs"].detach(), torch.tensor([-2.0, 2.1]), atol=0.01, rtol=0)


def test_a_guide_under_handlers_is_a_guide():
    """SEMANTICS 34."""

    def guide():
        aleator.sample("b", dist.Bernoulli(torch.sigmoid(aleator.param("logit", torch.tensor(0.3)))))

    def model():
        b = aleator.sample("b", dist.Bernoulli(0.5))
        aleator.sample("x", dist.Normal(b, 1.0), obs=DATA[0])

    marked = config_enumerate(handlers.scale(guide, scale=1.0))
    with aleator.ParamStore():
        estimator = TraceEnum_ELBO(max_plate_nesting=0)
        assert estimator.loss(model, marked) == estimator.loss(model, config_enumerate(guide))


@pytest.mark.parametrize("keeps", [None, True])
def test_the_graph_is_freed_unless_it_is_kept(keeps):
    """SEMANTICS 34: the peer keeps it always."""
    with aleator.ParamStore():
        estimator = TraceEnum_ELBO(max_plate_nesting=1, retain_graph=keeps)
        estimator.loss_and_grads(mixture, nothing)
        estimator.loss_and_grads(mixture, nothing)


def test_nothing_is_left_after_steps():
    with aleator.ParamStore():
        svi = SVI(mixture, nothing, Adam(lr=0.01), TraceEnum_ELBO(max_plate_nesting=1), progress=False)

        def live():
            gc.collect()
            return sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects())

        for _ in range(3):
            svi.step()
        before = live()
        for _ in range(20):
            svi.step()
        assert live() <= before


def test_a_step_frees_what_it_made_without_the_garbage_collector():
    """Nothing that a step made holds itself: a collection after it finds no tensor."""
    with aleator.ParamStore():
        svi = SVI(mixture, nothing, Adam(lr=0.01), TraceEnum_ELBO(max_plate_nesting=1), progress=False)
        for _ in range(3):
            svi.step()
        gc.collect()
        gc.disable()
        try:
            before = sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects())
            for _ in range(20):
                svi.step()
            after = sum(issubclass(type(each), torch.Tensor) for each in gc.get_objects())
        finally:
            gc.enable()
        assert after <= before


def test_no_watched_run_where_everything_is_summed(monkeypatch):
    """Dependence is looked for only where draws count, or steps of a chain."""
    import aleator_enum_discrete.enumerated_runs as runs

    def refuse(*args):
        raise AssertionError("the programs were run again")

    monkeypatch.setattr(runs, "note_parents", refuse)
    with aleator.ParamStore():
        TraceEnum_ELBO(max_plate_nesting=1).loss(mixture, nothing)
        with pytest.raises(AssertionError, match="run again"):
            TraceEnum_ELBO(max_plate_nesting=0).loss(_chain, nothing)


@config_enumerate
def _chain():
    x = torch.zeros(()).long()
    for t in aleator.markov(range(3)):
        x = aleator.sample(f"x_{t}", dist.Categorical(torch.eye(2)[x] + 0.1))


def test_a_chain_is_watched_once():
    """Steps after the first find what is known."""
    from aleator_enum_discrete import dependence

    calls = []
    original = dependence._find
    dependence._find = lambda *args: calls.append(1) or original(*args)
    try:
        for _ in range(5):
            TraceEnum_ELBO(max_plate_nesting=0).loss(_watched_once, nothing)
    finally:
        dependence._find = original
    assert len(calls) == 1


@config_enumerate
def _watched_once():
    x = torch.zeros(()).long()
    for t in aleator.markov(range(3)):
        x = aleator.sample(f"x_{t}", dist.Categorical(torch.eye(2)[x] + 0.2))
