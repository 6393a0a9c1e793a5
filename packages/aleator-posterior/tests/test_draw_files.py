import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator import handlers
from aleator.errors import CheckpointError
from aleator_posterior import Draws, DrawsBuilder, load_draws, save_draws

DATA = torch.arange(4.0)


def model():
    z = aleator.sample("z", dist.Normal(0.0, 1.0))
    if z.item() > 0:
        aleator.sample("sometimes", dist.Normal(torch.zeros(2), 1.0).to_event(1))
    with aleator.plate("data", 4, subsample_size=2) as indices:
        aleator.sample("x", dist.Normal(z, 1.0), obs=DATA[indices])
    with aleator.plate("all", 4):
        aleator.sample("y", dist.Normal(z, 1.0), obs=DATA)
    aleator.deterministic("d", z + 1)
    return z


def draws():
    builder = DrawsBuilder()
    with aleator.rng(0):
        for place in range(6):
            builder.append(handlers.trace(model).get_trace(), float(place), chain_id=place // 3)
    return builder.build()


def test_draws_come_back_whole(tmp_path):
    written = draws()
    save_draws(tmp_path / "draws.pt", written)
    read = load_draws(tmp_path / "draws.pt")
    assert torch.equal(read.log_weights, written.log_weights)
    assert torch.equal(read.chain_ids, written.chain_ids)
    for table in ("values", "log_likelihoods", "subsamples"):
        old, new = getattr(written, table), getattr(read, table)
        assert list(new) == list(old)
        for name in old:
            assert new.describe(name) == old.describe(name)
            assert new.is_ragged(name) == old.is_ragged(name)
            for (place, value), (other_place, other) in zip(old.ragged(name), new.ragged(name), strict=True):
                assert place == other_place
                assert torch.equal(value, other)
    assert read.values.is_ragged("sometimes")
    assert read.values["y"].stride(0) == 0
    assert read.dims == written.dims
    assert read.plates == written.plates
    trace = read.traces()[2]
    assert trace.nodes["d"].is_observed
    assert trace.nodes["data"].type == "subsample"


def test_no_draws_come_back_too(tmp_path):
    save_draws(tmp_path / "none.pt", Draws({}))
    assert len(load_draws(tmp_path / "none.pt")) == 0


def test_files_that_are_torn_or_foreign_are_refused(tmp_path):
    save_draws(tmp_path / "draws.pt", draws())
    whole = (tmp_path / "draws.pt").read_bytes()
    (tmp_path / "torn.pt").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(CheckpointError):
        load_draws(tmp_path / "torn.pt")
    with aleator.ParamStore() as store:
        aleator.param("a", torch.zeros(2))
        store.save(tmp_path / "params.pt")
    with pytest.raises(CheckpointError, match="was asked for"):
        load_draws(tmp_path / "params.pt")
    with pytest.raises(FileNotFoundError):
        load_draws(tmp_path / "missing.pt")
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["draws.pt", "params.pt", "torn.pt"]
