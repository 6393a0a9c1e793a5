"""Blocks of steps that are read back together: what comes of them is what comes of the steps one by one."""

from __future__ import annotations

import math
from collections import Counter

import pytest
import torch
from torch.overrides import TorchFunctionMode

import aleator
import aleator.distributions as dist
from aleator.distributions import constraints
from aleator.errors import NonFiniteError, ParameterError, SupportError
from aleator.infer import AbstractEstimator, Capabilities, Estimate
from aleator.optim import LBFGS, SGD, Adam, ClippedAdam, ExponentialLR, ReduceLROnPlateau
from aleator_svi_elbo import SVI, EarlyStopping, Trace_ELBO, blocks

DATA = torch.tensor([1.0, 2.0, 3.0])
NAN = float("nan")


@pytest.fixture
def costly(monkeypatch):
    """As on an accelerator, where a read makes the host wait."""
    monkeypatch.setattr(blocks, "reads_are_costly", lambda leaves: True)


def model(data, weight=None):
    z = aleator.sample("z", dist.Normal(0.0, 1.0))
    with aleator.plate("data", 3, subsample_size=2) as rows:
        b = aleator.sample("b", dist.Bernoulli(torch.tensor(0.3)))
        aleator.sample("x", dist.Normal(z + b, torch.tensor(1.0)), obs=data[rows])


def guide(data, weight=None):
    loc = aleator.param("loc", torch.tensor(0.5))
    scale = aleator.param("scale", torch.tensor(1.0), constraint=constraints.positive)
    probs = aleator.param("probs", 0.5 * torch.ones(3), constraint=constraints.unit_interval)
    aleator.sample("z", dist.Normal(loc, scale))
    with aleator.plate("data", 3, subsample_size=2) as rows:
        aleator.sample("b", dist.Bernoulli(probs[rows]))


class Counted(AbstractEstimator):
    """Trace_ELBO with a buffer, as a decaying-average baseline has one."""

    capabilities = Capabilities(non_reparam=True, subsampling=True)

    def estimate(self, model, guide, /, *args, **kwargs):
        found = Trace_ELBO().estimate(model, guide, *args, **kwargs)
        buffers = aleator.get_param_store().buffers
        average = buffers["baseline/z"] if "baseline/z" in buffers else torch.zeros(())
        updates = {"baseline/z": 0.9 * average + 0.1 * found.loss}
        return Estimate(found.loss + 0.0 * average, found.surrogate, found.aux, updates)


class Reads(TorchFunctionMode):
    """Counts the methods through which Python gets numbers out of tensors."""

    READS = ("item", "tolist", "numpy", "__bool__", "__float__", "__int__", "__index__", "is_nonzero")

    def __init__(self):
        super().__init__()
        self.counts = Counter()

    def __torch_function__(self, function, types, args=(), kwargs=None):
        name = getattr(function, "__name__", "")
        if name in self.READS:
            self.counts[name] += 1
        return function(*args, **(kwargs or {}))


def svi_of(**keywords):
    keywords = {"rng": 0, "progress": False, "num_samples": 0, "num_steps": 20, "callback_every": 7, **keywords}
    programs = keywords.pop("model", model), keywords.pop("guide", guide)
    return SVI(*programs, keywords.pop("optim", Adam(lr=0.05)), keywords.pop("loss", Trace_ELBO()), **keywords)


def whole_state(svi, store):
    source = svi._training.source
    return (
        {name: leaf.tolist() for name, leaf in store.named_parameters()},
        {name: buffer.tolist() for name, buffer in store.buffers.items()},
        repr(svi.optim.state_to_payload(svi._training.state)),
        svi.steps_taken,
        list(svi.losses),
        (torch.get_rng_state() if source is None else source.get_state()["cpu"]).tolist(),
        [leaf.grad for _, leaf in store.named_parameters()],
    )


def outcome(error=None, **keywords):
    """What a run leaves behind, the text of its error among it."""
    args = keywords.pop("args", (DATA,))
    aleator.set_rng_seed(0)
    calls = []
    with aleator.ParamStore() as store:
        svi = svi_of(callback=lambda step, loss: calls.append((step, loss)), **keywords)
        text = None
        if error is None:
            svi.run(*args)
        else:
            with pytest.raises(error) as caught:
                svi.run(*args)
            text = str(caught.value)
        return whole_state(svi, store), calls, text


def same(monkeypatch, make, error=None):
    """One by one and in blocks; ``make`` gives fresh keywords each time."""
    expected = outcome(error, **make())
    with monkeypatch.context() as patch:
        patch.setattr(blocks, "reads_are_costly", lambda leaves: True)
        found = outcome(error, **make())
    assert found == expected
    return expected


KEYWORDS = {
    "Adam": dict,
    "ClippedAdam": lambda: {"optim": ClippedAdam(lr=0.05, lrd=0.9)},
    "torch": lambda: {"optim": torch.optim.Adam},
    "factory": lambda: {"optim": lambda params: torch.optim.SGD(params, lr=0.01, momentum=0.9)},
    "particles": lambda: {"loss": Trace_ELBO(num_particles=3)},
    "schedule": lambda: {"scheduler": ExponentialLR(gamma=0.9)},
    "plateau": lambda: {"scheduler": ReduceLROnPlateau(patience=1)},
    "buffers": lambda: {"loss": Counted()},
    "context": lambda: {"rng": None},
    "stopping": lambda: {"optim": SGD(lr=1e-9), "early_stopping": EarlyStopping(1, 99.0, window=4)},
    "LBFGS": lambda: {"optim": LBFGS(max_iter=3, line_search_fn="strong_wolfe"), "num_steps": 4},
}


@pytest.mark.parametrize("name", KEYWORDS)
def test_blocks_equal_single_steps(monkeypatch, name):
    """Bit for bit: parameters, optimizer, buffers, losses, randomness, and what the callback hears."""
    state, calls, _ = same(monkeypatch, KEYWORDS[name])
    steps = state[3]
    assert steps == {"stopping": 8, "LBFGS": 4}.get(name, 20)
    assert [step for step, _ in calls] == list(range(7, steps + 1, 7))


def test_one_host_read_per_report(costly):
    """SEMANTICS 79: A report per hundred steps, the default, is a read per hundred steps."""
    with aleator.ParamStore():
        svi = svi_of(num_steps=100, callback_every=100)
        svi.run(DATA)
        svi.num_steps = 300
        with Reads() as reads:
            svi.run(DATA)
        assert reads.counts == {"tolist": 3}
        assert len(svi.losses) == 400


def test_where_reads_are_cheap_each_step_is_looked_at():
    """The twin: on the CPU, where a block would repeat work to save nothing."""
    with aleator.ParamStore():
        svi = svi_of(num_steps=30, callback_every=10)
        svi.run(DATA)
        with Reads() as reads:
            svi.run(DATA)
        assert reads.counts == {"tolist": 30}


def test_early_stopping_ends_blocks(costly):
    with aleator.ParamStore():
        svi = svi_of(num_steps=60, callback_every=1000, early_stopping=EarlyStopping(patience=9, window=15))
        svi.run(DATA)
        with Reads() as reads:
            svi.run(DATA)
        assert reads.counts == {"tolist": 4}


def test_no_block_is_longer_than_the_longest(costly, monkeypatch):
    monkeypatch.setattr(blocks, "LONGEST", 8)
    with aleator.ParamStore():
        svi = svi_of(num_steps=24, callback_every=10**9)
        svi.run(DATA)
        with Reads() as reads:
            svi.run(DATA)
        assert reads.counts == {"tolist": 3}


def steep(bad, loc):
    """0 or 1, whose gradient is NaN where bad."""
    return torch.where(bad, 0.0 * loc, 1.0 + 0.0 * loc).sqrt()


def turning(kind):
    """Programs that go wrong at the 12th execution that counts: by the count of a buffer, so that they repeat."""

    def turning_model(data, weight=None):
        buffers = aleator.get_param_store().buffers
        turn = buffers["baseline/turn"] if "baseline/turn" in buffers else torch.zeros(())
        bad = turn >= 11.0
        z = aleator.sample("z", dist.Normal(0.0, 1.0))
        with aleator.plate("data", 3):
            b = aleator.sample("b", dist.Bernoulli(torch.tensor(0.3)))
            value = torch.where(bad, NAN, data) if kind == "support" else data
            noise = torch.where(bad, -1.0, torch.ones(())) if kind == "argument" else torch.ones(())
            aleator.sample("x", dist.Normal(z + b, noise), obs=value)
        if kind == "gradient":
            loc = aleator.param("loc")
            aleator.factor("steep", steep(bad, loc))
        if kind == "raise" and bad.item():
            raise KeyError("the program's own")
        if kind == "later" and turn.item() >= 13.0:
            raise KeyError("never reached one by one")
        if kind == "later":
            aleator.factor("steep", steep(bad, aleator.param("loc")))

    def turning_guide(data, weight=None):
        loc = aleator.param("loc", torch.tensor(0.5))
        scale = aleator.param("scale", torch.tensor(1.0), constraint=constraints.positive)
        aleator.sample("z", dist.Normal(loc, scale))
        with aleator.plate("data", 3):
            aleator.sample("b", dist.Bernoulli(aleator.param("probs", torch.tensor(0.5), constraints.unit_interval)))

    class Turns(AbstractEstimator):
        capabilities = Capabilities(non_reparam=True)

        def estimate(self, model, guide, /, *args, **kwargs):
            found = Trace_ELBO().estimate(model, guide, *args, **kwargs)
            buffers = aleator.get_param_store().buffers
            turn = buffers["baseline/turn"] if "baseline/turn" in buffers else torch.zeros(())
            return Estimate(found.loss, found.surrogate, found.aux, {"baseline/turn": turn + 1.0})

    return {"model": turning_model, "guide": turning_guide, "loss": Turns()}


FAILURES = [
    ("support", SupportError, "site 'x'"),
    ("argument", ParameterError, "site 'x': Normal expects 'scale'"),
    ("gradient", NonFiniteError, "the gradient of parameter 'loc' holds nan"),
    ("raise", KeyError, "the program's own"),
    ("later", NonFiniteError, "the gradient of parameter 'loc' holds nan"),
]


@pytest.mark.parametrize(("kind", "error", "match"), FAILURES)
@pytest.mark.parametrize("optim", [Adam(lr=0.05), torch.optim.Adam], ids=["pure", "torch"])
@pytest.mark.parametrize("scheduler", [None, ExponentialLR(gamma=0.9)], ids=["plain", "scheduled"])
def test_a_failure_within_a_block(monkeypatch, kind, error, match, optim, scheduler):
    """State, losses and text are those of the failing step; the steps before it have been taken."""
    keywords = {"optim": optim, "scheduler": scheduler}
    state, calls, text = same(monkeypatch, lambda: {**turning(kind), **keywords}, error)
    assert match in text
    assert state[3] == len(state[4]) == 11
    assert [step for step, _ in calls] == [7]


def test_nothing_is_repeated_where_the_program_raises_and_the_steps_before_it_hold(costly):
    calls = []

    def raising_model(data, weight=None):
        calls.append(1)
        model(data)
        if len(calls) == 10:
            raise KeyError("the program's own")

    with aleator.ParamStore():
        svi = svi_of(model=raising_model)
        with pytest.raises(KeyError):
            svi.run(DATA)
        assert (len(calls), svi.steps_taken, len(svi.losses)) == (10, 9, 9)


@pytest.mark.parametrize("at", [10, 13])
def test_an_interrupt_leaves_a_whole_run(costly, at):
    """The steps before it count; where one of them did not hold, the block has not been."""
    calls = []

    def interrupted_model(data, weight=None):
        calls.append(1)
        model(data)
        if at == 13 and len(calls) == 11:
            aleator.factor("steep", steep(torch.tensor(True), aleator.param("loc")))
        if len(calls) == at:
            raise KeyboardInterrupt

    with aleator.ParamStore() as store:
        svi = svi_of(model=interrupted_model, num_steps=30)
        with pytest.raises(KeyboardInterrupt):
            svi.run(DATA)
        expected = {10: 9, 13: 7}[at]
        assert (svi.steps_taken, len(svi.losses)) == (expected, expected)
        assert all(leaf.isfinite().all() for _, leaf in store.named_parameters())
        svi.run(DATA)
        found = svi.losses
    with aleator.ParamStore():
        whole = svi_of(num_steps=expected)
        whole.run(DATA)
        assert found[:expected] == whole.losses


def test_parameters_that_come_within_a_block(monkeypatch):
    """One drawn at random, one of a module: made when their step comes, and put back where a step fails."""

    def keywords(kind):
        parts = turning(kind)
        net = torch.nn.Sequential(torch.nn.Linear(1, 1), torch.nn.BatchNorm1d(1))
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.fill_(0.25)

        def growing_guide(data, weight=None):
            parts["guide"](data)
            buffers = aleator.get_param_store().buffers
            turn = buffers["baseline/turn"].item() if "baseline/turn" in buffers else 0
            if turn >= 3:
                late = aleator.param("late", lambda: torch.randn(()))
                aleator.factor("pull", (late - 1.0) ** 2, has_rsample=True)
            if turn >= 9:
                aleator.module("net", net)
                aleator.factor("net_pull", (net(data.reshape(-1, 1)) ** 2).sum(), has_rsample=True)

        return {**parts, "guide": growing_guide, "rng": None}

    state, _, _ = same(monkeypatch, lambda: keywords("none"))
    assert {"late", "net$$$0.weight"} <= state[0].keys()
    state, _, _ = same(monkeypatch, lambda: keywords("gradient"), NonFiniteError)
    assert {"late", "net$$$0.weight"} <= state[0].keys()
    assert state[3] == 11


def test_a_sum_of_gradients_that_overflows_is_no_failure(monkeypatch):
    """The numbers of a block say "not finite"; looked at again, the step holds, and the run goes on."""

    def steep_model(data, weight=None):
        aleator.sample("z", dist.Normal(0.0, 1.0))

    def steep_guide(data, weight=None):
        loc = aleator.param("loc", torch.zeros(4))
        z = aleator.sample("z", dist.Normal(0.0, 1.0))
        aleator.factor("steep", (loc * 3e38).sum() * 0.5 + 0.0 * z, has_rsample=True)

    state, _, _ = same(monkeypatch, lambda: {"model": steep_model, "guide": steep_guide, "num_steps": 5})
    assert state[3] == 5


def test_an_infinite_loss_with_finite_gradients_is_no_failure(monkeypatch):
    def walled_model(data, weight=None):
        aleator.sample("z", dist.Normal(0.0, 1.0))
        aleator.factor("wall", torch.tensor(-math.inf))

    def plain_guide(data, weight=None):
        aleator.sample("z", dist.Normal(aleator.param("loc", torch.tensor(0.5)), 1.0))

    state, _, _ = same(monkeypatch, lambda: {"model": walled_model, "guide": plain_guide})
    assert state[4] == [math.inf] * 20


def test_programs_go_on_with_finite_values_until_a_failure_is_seen(costly):
    """A rejection sampler given NaN would not come back."""
    met = []
    parts = turning("gradient")

    def watching_guide(data, weight=None):
        parts["guide"](data)
        met.append(aleator.param("loc").detach())

    with aleator.ParamStore():
        svi = svi_of(**{**parts, "guide": watching_guide})
        with pytest.raises(NonFiniteError):
            svi.run(DATA)
    assert all(value.isfinite() for value in met)
    assert len(met) > 14


def test_a_callback_that_raises_or_saves_finds_a_whole_run(costly, tmp_path):
    with aleator.ParamStore() as store:
        svi = svi_of(callback_every=10)

        def save_and_stop(step, loss):
            svi.save(tmp_path / "run.pt")
            raise StopIteration

        svi.callback = save_and_stop
        with pytest.raises(StopIteration):
            svi.run(DATA)
        assert (svi.steps_taken, len(svi.losses)) == (10, 10)
        expected = whole_state(svi, store)
    with aleator.ParamStore() as store:
        svi = svi_of(rng=5)
        svi.load(tmp_path / "run.pt")
        assert whole_state(svi, store) == expected


def test_a_loss_that_reads_by_itself_is_taken_step_by_step(costly):
    """A callable that returns a number has read it already."""

    def loss_and_grads(*args):
        return Trace_ELBO().loss_and_grads(*args)

    with aleator.ParamStore():
        svi = SVI(
            model, guide, Adam(lr=0.1), Trace_ELBO().differentiable_loss, loss_and_grads, 0, 5, rng=0, progress=False
        )
        svi.run(DATA)
        assert svi.steps_taken == 5
