"""Baselines over the steps of a run: buffers, files, pure steps, and plates whose size varies."""

from __future__ import annotations

import gc
import pickle

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

import aleator
import aleator.distributions as dist
from aleator.infer import SVI, pure_step
from aleator.optim import SGD, Adam
from aleator_svi_elbo import TraceGraph_ELBO

AVERAGE = {"baseline": {"use_decaying_avg_baseline": True}}
X = torch.tensor([0.3, -0.7, 1.1, 0.4])


@pytest.fixture(autouse=True)
def store():
    with aleator.ParamStore() as inner:
        yield inner


def model(x):
    b = aleator.sample("b", dist.Bernoulli(0.3))
    with aleator.plate("data", len(x)):
        z = aleator.sample("z", dist.Bernoulli(0.3))
        aleator.sample("x", dist.Normal(z + b, 1.0), obs=x)


class Programs:
    """A guide with a network as baseline for one site, and averages for both."""

    def __init__(self, average=True):
        self.average = average
        self.network = torch.nn.Sequential(torch.nn.Linear(1, 3), torch.nn.Tanh(), torch.nn.Linear(3, 1))
        source = torch.Generator().manual_seed(0)
        with torch.no_grad():
            for parameter in self.network.parameters():
                parameter.copy_(torch.randn(parameter.shape, generator=source))

    def guide(self, x):
        aleator.module("network", self.network)
        logits = aleator.param("logits", torch.zeros(3))
        b = aleator.sample("b", dist.Bernoulli(logits=logits[0]), infer=AVERAGE if self.average else {})
        options = {"nn_baseline": self.value, "nn_baseline_input": [x, b], "use_decaying_avg_baseline": self.average}
        with aleator.plate("data", len(x)):
            fn = dist.Bernoulli(logits=logits[1] + logits[2] * x)
            aleator.sample("z", fn, infer={"baseline": options})

    def value(self, inputs):
        x, b = inputs
        return self.network((x + b).unsqueeze(-1)).squeeze(-1)


def run_of(steps=0, optim=None, **options):
    svi = SVI(model, Programs().guide, optim or Adam(lr=0.05), TraceGraph_ELBO(**options), rng=3, progress=False)
    for _ in range(steps):
        svi.step(X)
    return svi


def tensors(store):
    state = store.get_state()
    return {**state["params"], **state["buffers"]}


def test_a_step_writes_one_buffer_per_site_and_no_parameter(store):
    """SEMANTICS 15: a buffer of the run, not among the parameters, one tensor however many steps are taken."""
    svi = run_of(1)
    assert set(store.buffers) == {"baseline/b", "baseline/z"}
    assert not any(name.startswith("baseline/") for name in store)
    assert store.buffers["baseline/b"].shape == ()
    assert store.buffers["baseline/z"].shape == (4,)
    first = store.buffers["baseline/z"]
    svi.step(X)
    assert not torch.equal(first, store.buffers["baseline/z"])
    assert not store.buffers["baseline/z"].requires_grad


def test_nothing_grows(store):
    """SEMANTICS 79: 100 steps, as many live tensors as after 20; the estimator stays what it was."""
    estimator = TraceGraph_ELBO()
    before = pickle.dumps(estimator), dict(vars(estimator))
    svi = SVI(model, Programs().guide, Adam(lr=0.05), estimator, rng=0)

    def live():
        gc.collect()
        return sum(1 for thing in gc.get_objects() if type(thing) is torch.Tensor)

    counts = []
    for _ in range(3):
        for _ in range(20):
            svi.step(X)
        counts.append(live())
    assert counts[1] == counts[2]
    assert (pickle.dumps(estimator), dict(vars(estimator))) == before


def test_looking_at_the_loss_writes_nothing(store):
    svi = run_of(3)
    before = {name: value.clone() for name, value in store.buffers.items()}
    svi.evaluate_loss(X)
    estimator = TraceGraph_ELBO()
    estimator.loss(svi.model, svi.guide, X)
    estimator.differentiable_loss(svi.model, svi.guide, X).backward()
    estimator.loss_and_grads(svi.model, svi.guide, X)
    assert all(torch.equal(value, before[name]) for name, value in store.buffers.items())


def test_the_network_is_trained_towards_the_costs(store):
    """SEMANTICS 14: it shares the optimizer; with the guide held still, the squared distance falls."""
    programs = Programs(average=False)
    optim = Adam(lambda name: {"lr": 0.02 if name.startswith("network") else 0.0})
    svi = SVI(model, programs.guide, optim, TraceGraph_ELBO(), rng=0)

    def distance():
        """The baseline loss: what the surrogate has beside the loss."""
        estimate = TraceGraph_ELBO(num_particles=50).estimate(model, programs.guide, X)
        return (estimate.surrogate - estimate.loss).item()

    aleator.set_rng_seed(0)
    before = distance()
    weights = {name: leaf.detach().clone() for name, leaf in store.named_parameters()}
    for _ in range(80):
        svi.step(X)
    assert distance() < 0.5 * before
    for name, leaf in store.named_parameters():
        assert torch.equal(leaf, weights[name]) is (name == "logits")


@pytest.mark.parametrize("split", [0, 4])
def test_a_run_continues_from_a_file_bit_for_bit(tmp_path, split, store):
    """SEMANTICS 15: averages are saved with the checkpoint."""
    whole = run_of(8)
    expected, last = tensors(store), whole.step(X)
    store.clear()
    run_of(8 - split).save(tmp_path / "run")
    store.clear()
    resumed = run_of()
    resumed.load(tmp_path / "run")
    for _ in range(split):
        resumed.step(X)
    found = tensors(store)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)
    assert resumed.step(X) == last


@pytest.mark.parametrize("how", [{}, {"num_particles": 3}, {"num_particles": 3, "vectorize_particles": True}])
def test_pure_steps_are_the_steps_of_svi(how, store):
    adam = Adam(lr=0.05)
    svi = run_of(0, adam, **how)
    svi.step(X)
    params = {name: leaf.detach().clone() for name, leaf in store.named_parameters()}
    state, buffers = adam.init(params), {name: value.clone() for name, value in store.buffers.items()}
    programs = Programs()
    step = pure_step(TraceGraph_ELBO(**how), adam, model, programs.guide)
    svi = SVI(model, programs.guide, adam, TraceGraph_ELBO(**how))
    aleator.set_rng_seed(1)
    losses = []
    for _ in range(3):
        params, state, buffers, loss = step(params, state, buffers, (X,))
        losses.append(loss.item())
    aleator.set_rng_seed(1)
    torch.testing.assert_close([svi.step(X) for _ in range(3)], losses)
    for name, leaf in store.named_parameters():
        torch.testing.assert_close(params[name], leaf.detach())
    for name, value in store.buffers.items():
        torch.testing.assert_close(buffers[name], value)


def test_a_captured_step_replays_bit_equal(store):
    """SEMANTICS 77: network, averages and the analysis under ``make_fx``, on other inputs than those it saw."""
    adam, programs = Adam(lr=0.05), Programs()
    run_of(1, adam)
    params = {name: leaf.detach().clone() for name, leaf in store.named_parameters()}
    buffers = {name: value.clone() for name, value in store.buffers.items()}
    step = pure_step(TraceGraph_ELBO(), adam, model, programs.guide)

    def flat(params, state, buffers, x):
        return step(params, state, buffers, (x,))

    captured = make_fx(flat)(params, adam.init(params), buffers, X)
    drawn = sum("bernoulli" in str(node.target) for node in captured.graph.nodes)
    assert drawn == 2, "the analysis leaves no draws in the graph"
    results = []
    for run in (flat, captured):
        aleator.set_rng_seed(2)
        state = params, adam.init(params), buffers, None
        losses = []
        for turn in range(3):
            state = run(*state[:3], X * (turn + 1))
            losses.append(state[3])
        results.append((*losses, *state[0].values(), *state[2].values()))
    for one, other in zip(*results, strict=True):
        assert torch.equal(one, other)


def test_the_network_is_itself_again_after_a_pure_step(store):
    programs, adam = Programs(), Adam(lr=0.05)
    SVI(model, programs.guide, adam, TraceGraph_ELBO()).step(X)
    own = {name: parameter for name, parameter in programs.network.named_parameters()}
    params = {name: leaf.detach().clone() * 2 for name, leaf in store.named_parameters()}
    pure_step(TraceGraph_ELBO(), adam, model, programs.guide)(params, adam.init(params), dict(store.buffers), (X,))
    assert all(parameter is own[name] for name, parameter in programs.network.named_parameters())


def subsampled(size):
    def draw(guiding):
        with aleator.plate("data", 8, subsample_size=size) as rows:
            logits = aleator.param("logits", torch.zeros(8))[rows] if guiding else torch.zeros(size)
            z = aleator.sample("z", dist.Bernoulli(logits=logits), infer=AVERAGE if guiding else {})
            if not guiding:
                aleator.sample("x", dist.Normal(z, 1.0), obs=torch.ones(size))

    return (lambda: draw(False)), (lambda: draw(True))


def test_a_varying_subsample_keeps_one_average(store):
    """SEMANTICS 15: minibatches of any size share one number, in their own measure: costs are not multiplied by 8/n."""
    optim = SGD(lr=0.0)
    for size in (2, 4, 8, 3, 2) * 20:
        SVI(*subsampled(size), optim, TraceGraph_ELBO()).step()
        assert list(store.buffers) == ["baseline/z"]
        assert store.buffers["baseline/z"].shape == ()
    # E[log p - log q] of one element: half (0 - 1)^2 in half of the draws, and the normal's constant.
    truth = -0.25 - 0.5 * torch.log(torch.tensor(2.0 * torch.pi))
    torch.testing.assert_close(store.buffers["baseline/z"], truth, rtol=0.0, atol=0.15)


def test_a_plate_of_varying_size_takes_its_elements_together(store):
    """A last batch that is smaller: elements are not the same ones, so the average becomes one of all."""
    svi = run_of()
    svi.step(X)
    assert store.buffers["baseline/z"].shape == (4,)
    before = store.buffers["baseline/z"].mean()
    svi.step(X[:3])
    assert store.buffers["baseline/z"].shape == ()
    assert (store.buffers["baseline/z"] - before).abs() < 5.0
    svi.step(X)
    assert store.buffers["baseline/z"].shape == ()


def test_looped_and_vectorized_particles_keep_averages_of_one_shape(store):
    shapes = []
    for how in ({}, {"num_particles": 3}, {"num_particles": 3, "vectorize_particles": True}):
        store.clear()
        run_of(2, **how)
        shapes.append({name: value.shape for name, value in store.buffers.items()})
    assert shapes[0] == shapes[1] == shapes[2] == {"baseline/b": (), "baseline/z": (4,)}
    # And one average serves them all in turn.
    for how in ({}, {"num_particles": 2}, {"num_particles": 3, "vectorize_particles": True}):
        run_of(1, **how)
    assert {name: value.shape for name, value in store.buffers.items()} == shapes[0]


def test_each_turn_of_a_loop_has_an_average_of_its_own(store):
    def turns(guiding):
        for i in aleator.plate("turns", 3):
            z = aleator.sample(f"z_{i}", dist.Bernoulli(0.5), infer=AVERAGE if guiding else {})
            if not guiding:
                aleator.sample(f"x_{i}", dist.Normal(z, 1.0), obs=X[i])

    svi = SVI(lambda: turns(False), lambda: turns(True), SGD(lr=0.1), TraceGraph_ELBO())
    for _ in range(3):
        svi.step()
    assert set(store.buffers) == {"baseline/z_0", "baseline/z_1", "baseline/z_2"}


def test_an_empty_minibatch_leaves_the_average_alone(store):
    store.buffers["baseline/z"] = torch.tensor(1.25)
    store.buffers["baseline/b"] = torch.tensor(0.5)
    svi = run_of()
    estimate = TraceGraph_ELBO().estimate(svi.model, svi.guide, X[:0])
    assert estimate.updates["baseline/z"] == 1.25
    assert torch.isfinite(estimate.updates["baseline/b"])


@pytest.mark.parametrize("shape", [(2,), (3, 4), (4, 1)])
def test_an_average_of_another_program_is_taken_together(shape, store):
    """A store that held something else under the name: no crash, and an average that fits afterwards."""
    store.buffers["baseline/z"] = torch.arange(1.0, 1.0 + torch.Size(shape).numel()).reshape(shape)
    run_of(1)
    assert store.buffers["baseline/z"].shape in ((), (4,))
    assert torch.isfinite(store.buffers["baseline/z"]).all()
