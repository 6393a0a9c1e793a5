"""svi.save and svi.load: the run whole, bit for bit, or not at all."""

from __future__ import annotations

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator.distributions import constraints
from aleator.errors import CheckpointError
from aleator.optim import SGD, Adagrad, Adam, AdamW, ClippedAdam, ExponentialLR, ReduceLROnPlateau, RMSprop
from aleator.params.files import read_checkpoint, write_checkpoint
from aleator_svi_elbo import SVI, Trace_ELBO

DATA = torch.tensor([1.0, 2.0, 3.0])


def model(data):
    z = aleator.sample("z", dist.Normal(0.0, 1.0))
    with aleator.plate("data", 3, subsample_size=2) as rows:
        b = aleator.sample("b", dist.Bernoulli(torch.tensor(0.3)))
        aleator.sample("x", dist.Normal(z + b, torch.tensor(1.0)), obs=data[rows])


def guide(data):
    loc = aleator.param("loc", torch.tensor(0.5))
    scale = aleator.param("scale", torch.tensor(1.0), constraint=constraints.positive)
    probs = aleator.param("probs", 0.5 * torch.ones(3), constraint=constraints.unit_interval)
    aleator.sample("z", dist.Normal(loc, scale))
    with aleator.plate("data", 3, subsample_size=2) as rows:
        aleator.sample("b", dist.Bernoulli(probs[rows]))


def run_of(optim, steps=6, **keywords):
    keywords = {"rng": 0, "num_samples": 0, "progress": False, **keywords}
    return SVI(model, guide, optim, Trace_ELBO(num_particles=2), num_steps=steps, **keywords)


def values(store):
    return {name: leaf.detach().clone() for name, leaf in store.named_parameters()}


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[name], expected[name]) for name in expected)


OPTIMIZERS = {
    "Adam": lambda: Adam(lr=0.1),
    "AdamW": lambda: AdamW(lr=0.1),
    "ClippedAdam": lambda: ClippedAdam(lr=0.1, lrd=0.99),
    "SGD": lambda: SGD(lr=0.01, momentum=0.9),
    "RMSprop": lambda: RMSprop(lr=0.01),
    "Adagrad": lambda: Adagrad(lr=0.1),
    "torch": lambda: torch.optim.Adam,
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_a_resumed_run_continues_bit_for_bit(tmp_path, name):
    """In a fresh store and a fresh run, with another seed: twelve steps are six, a file, and six."""
    with aleator.ParamStore() as store:
        whole = run_of(OPTIMIZERS[name](), steps=12).run(DATA)
        expected = values(store)
    with aleator.ParamStore():
        first = run_of(OPTIMIZERS[name]()).run(DATA)
        first.save(tmp_path / "run.pt")
    with aleator.ParamStore() as store:
        second = run_of(OPTIMIZERS[name](), rng=99)
        second.load(tmp_path / "run.pt")
        assert (second.steps_taken, second.losses) == (6, whole.losses[:6])
        second.run(DATA)
        assert second.losses == whole.losses
        assert second.steps_taken == 12
        assert_same(values(store), expected)


@pytest.mark.parametrize("scheduler", [ExponentialLR(gamma=0.8), ReduceLROnPlateau(patience=1)])
def test_the_schedule_goes_on_where_it_was(tmp_path, scheduler):
    with aleator.ParamStore() as store:
        whole = run_of(Adam(lr=0.1), steps=12, scheduler=scheduler).run(DATA)
        expected = values(store)
    with aleator.ParamStore():
        run_of(Adam(lr=0.1), scheduler=scheduler).run(DATA).save(tmp_path / "run.pt")
    with aleator.ParamStore() as store:
        second = run_of(Adam(lr=0.1), scheduler=scheduler)
        second.load(tmp_path / "run.pt")
        second.run(DATA)
        assert second.losses == whole.losses
        assert_same(values(store), expected)


def test_a_run_goes_back_in_its_own_store(tmp_path):
    """Leaves are kept: what holds them follows."""
    with aleator.ParamStore() as store:
        svi = run_of(Adam(lr=0.1)).run(DATA)
        svi.save(tmp_path / "run.pt")
        leaf = store.unconstrained("loc")
        svi.run(DATA)
        expected, losses = values(store), svi.losses
        svi.load(tmp_path / "run.pt")
        assert svi.steps_taken == 6
        svi.run(DATA)
        assert store.unconstrained("loc") is leaf
        assert svi.losses == losses
        assert_same(values(store), expected)


def test_before_the_first_step(tmp_path):
    """An empty run can be saved and loaded, and begins as it would have."""
    with aleator.ParamStore() as store:
        expected_run = run_of(Adam(lr=0.1)).run(DATA)
        expected = values(store)
    with aleator.ParamStore():
        run_of(Adam(lr=0.1)).save(tmp_path / "run.pt")
    with aleator.ParamStore() as store:
        svi = run_of(Adam(lr=0.1), rng=5)
        svi.load(tmp_path / "run.pt")
        assert (svi.steps_taken, svi.losses) == (0, [])
        svi.run(DATA)
        assert svi.losses == expected_run.losses
        assert_same(values(store), expected)


def test_modules_and_buffers_go_with_it(tmp_path):
    """In a fresh process the module puts its own Parameters into the store: the optimizer's memory must survive it."""

    def programs(net):
        def net_guide(data):
            aleator.module("net", net)
            aleator.sample("z", dist.Normal(net(torch.ones(2, 1)).mean(), 1.0))

        def net_model(data):
            aleator.sample("z", dist.Normal(3.0, 1.0))

        return net_model, net_guide

    def net():
        torch.manual_seed(0)
        return torch.nn.Sequential(torch.nn.Linear(1, 3), torch.nn.BatchNorm1d(3), torch.nn.Linear(3, 1))

    def run(net, steps, rng=0):
        keywords = {"num_steps": steps, "num_samples": 0, "rng": rng, "progress": False}
        return SVI(*programs(net), Adam(lr=0.05), Trace_ELBO(), **keywords)

    with aleator.ParamStore():
        straight = net()
        whole = run(straight, 10).run(DATA)
    with aleator.ParamStore() as store:
        run(net(), 5).run(DATA).save(tmp_path / "run.pt")
        assert len(store.buffers) == 3
    with aleator.ParamStore():
        resumed = net()
        svi = run(resumed, 5, rng=7)
        svi.load(tmp_path / "run.pt")
        svi.run(DATA)
    assert svi.losses == whole.losses
    assert_same(dict(resumed.state_dict()), dict(straight.state_dict()))


def test_a_run_on_the_contexts_stream_saves_no_randomness(tmp_path):
    with aleator.ParamStore():
        svi = run_of(Adam(lr=0.1), rng=None).run(DATA)
        svi.save(tmp_path / "run.pt")
        before = torch.get_rng_state()
        svi.load(tmp_path / "run.pt")
        assert torch.equal(before, torch.get_rng_state())
        assert svi._training.source is None


def whole_state(svi, store):
    return (
        {name: (id(leaf), leaf.tolist()) for name, leaf in store.named_parameters()},
        {name: buffer.tolist() for name, buffer in store.buffers.items()},
        repr(svi.optim.state_to_payload(svi._training.state)),
        svi.steps_taken,
        list(svi.losses),
        {device: state.tolist() for device, state in svi._training.source.get_state().items()},
    )


def refused(path, error, match, optim=None):
    """A load that raises, and leaves store and run as they were; the run goes on."""
    with aleator.ParamStore() as store:
        svi = run_of(optim or Adam(lr=0.1), rng=3).run(DATA)
        before = whole_state(svi, store)
        with pytest.raises(error, match=match):
            svi.load(path)
        assert whole_state(svi, store) == before
        svi.run(DATA)
        assert svi.steps_taken == 12


@pytest.fixture
def saved(tmp_path):
    path = tmp_path / "run.pt"
    with aleator.ParamStore():
        run_of(Adam(lr=0.1)).run(DATA).save(path)
    return path


def test_a_missing_file(tmp_path):
    refused(tmp_path / "nothing.pt", FileNotFoundError, "nothing.pt")


def test_cut_short_and_damaged_files(saved):
    content = saved.read_bytes()
    for kept in (0, 10, len(content) // 2, len(content) - 1):
        saved.write_bytes(content[:kept])
        refused(saved, CheckpointError, "run.pt")
    third = len(content) // 3
    saved.write_bytes(content[:third] + bytes(third) + content[2 * third :])
    refused(saved, CheckpointError, "run.pt")


def test_a_file_of_parameters_is_no_run(tmp_path):
    with aleator.ParamStore() as store:
        run_of(Adam(lr=0.1)).run(DATA)
        store.save(tmp_path / "params.pt")
    refused(tmp_path / "params.pt", CheckpointError, "holds 'aleator.params', but 'aleator.svi-run'")


def test_another_optimizer(saved):
    refused(saved, CheckpointError, "does not fit SGD: it was written by 'Adam'", optim=SGD(lr=0.01))


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("store", None),
        ("store", {"params": {"loc": 3}, "buffers": {}}),
        ("optimizer", None),
        ("optimizer", {"format": 1, "optimizer": "Adam", "slots": {"unknown": {}}, "learning_rates": {}}),
        ("random_state", {"cpu": torch.zeros(3, dtype=torch.uint8)}),
        ("random_state", {"cpu": "seed"}),
        ("random_state", {}),
        ("steps_taken", -1),
        ("steps_taken", "six"),
        ("losses", [1.0]),
    ],
)
def test_a_well_formed_file_with_wrong_content(saved, key, value):
    """The checksum is right, the content is not what a run is: still a typed error, and nothing has changed."""
    content = {**read_checkpoint(saved, "aleator.svi-run"), key: value}
    write_checkpoint(saved, content, "aleator.svi-run")
    refused(saved, CheckpointError, ".")


def test_a_parameter_of_another_dtype_does_not_fit_and_changes_nothing(tmp_path):
    """The store would keep its leaf and its dtype, and the optimizer's memory would no longer fit it."""

    def double_guide(data):
        aleator.sample("z", dist.Normal(aleator.param("loc", torch.tensor(0.5, dtype=torch.float64)), 1.0))

    def simple_model(data):
        aleator.sample("z", dist.Normal(0.0, 1.0))

    with aleator.ParamStore():
        svi = SVI(simple_model, double_guide, Adam(lr=0.1), Trace_ELBO(), rng=0, progress=False)
        svi.step(DATA)
        svi.save(tmp_path / "run.pt")
    refused(tmp_path / "run.pt", CheckpointError, "'loc'")


def test_a_failed_save_leaves_the_last_file(saved, monkeypatch):
    before = saved.read_bytes()

    def full(*args, **kwargs):
        raise OSError("no space left on device")

    monkeypatch.setattr(torch, "save", full)
    with aleator.ParamStore():
        svi = run_of(Adam(lr=0.1)).run(DATA)
        with pytest.raises(OSError, match="no space"):
            svi.save(saved)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]
