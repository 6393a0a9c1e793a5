"""Files of runs: every optimizer and schedule, a fresh process, older and newer formats, and files meant to harm."""

from __future__ import annotations

import copy
import io
import pickle
import random
import subprocess
import sys
import textwrap
import zipfile

import pytest
import torch

import aleator
from aleator.errors import CheckpointError
from aleator.params.content import checksum
from aleator.params.files import FORMAT, FORMAT_VERSION, read_checkpoint, write_checkpoint

KIND = "aleator.svi-run"
DATA = torch.tensor([1.0, 2.0, 3.0])

# As text, since a fresh process runs the same.
PROGRAMS = """
import torch, aleator
import aleator.distributions as dist
from aleator import optim
from aleator.distributions import constraints
from aleator.infer import AbstractEstimator, Capabilities, Estimate
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

class Averaged(AbstractEstimator):
    # Less a decaying average of itself that lives in a buffer, so that a lost buffer shows in the loss.
    capabilities = Capabilities(non_reparam=True, subsampling=True)
    def estimate(self, model, guide, /, *args, **kwargs):
        found = Trace_ELBO().estimate(model, guide, *args, **kwargs)
        buffers = aleator.get_param_store().buffers
        average = buffers["baseline/z"] if "baseline/z" in buffers else torch.zeros(())
        updates = {"baseline/z": 0.9 * average + 0.1 * found.loss}
        return Estimate(found.loss - average, found.surrogate, found.aux, updates)

OPTIMIZERS = {
    "Adam": lambda: optim.Adam(lr=0.1, amsgrad=True),
    "AdamW": lambda: optim.AdamW(lr=0.1),
    "ClippedAdam": lambda: optim.ClippedAdam(lr=0.1, lrd=0.99),
    "SGD": lambda: optim.SGD(lr=0.01, momentum=0.9),
    "RMSprop": lambda: optim.RMSprop(lr=0.01, momentum=0.5),
    "Adagrad": lambda: optim.Adagrad(lr=0.1),
    "NAdam": lambda: optim.NAdam(lambda name: {"lr": 0.1 if name == "loc" else 0.02}),
    "Adafactor": lambda: optim.Adafactor(lr=0.1),
    "Rprop": lambda: optim.Rprop(lr=0.01),
    "class": lambda: torch.optim.Adam,
    "factory": lambda: lambda params: torch.optim.SGD(params, lr=0.01, momentum=0.9),
    "LBFGS": lambda: optim.LBFGS(lr=0.1, max_iter=2, line_search_fn="strong_wolfe"),
}
SCHEDULES = {
    "none": lambda: None,
    "exponential": lambda: optim.ExponentialLR(gamma=0.8),
    "plateau": lambda: optim.ReduceLROnPlateau(patience=1),
    "cycle": lambda: optim.OneCycleLR(max_lr=0.1, total_steps=20),
    "cosine": lambda: optim.CosineAnnealingWarmRestarts(T_0=3),
}

def run_of(optimizer, schedule, steps, rng=0):
    return SVI(model, guide, OPTIMIZERS[optimizer](), Averaged(), num_steps=steps, rng=rng, num_samples=0,
               progress=False, scheduler=SCHEDULES[schedule]())

def content(store):
    return {**{name: leaf.tolist() for name, leaf in store.named_parameters()},
            **{name: value.tolist() for name, value in store.buffers.items()}}
"""
SPACE = {}
exec(PROGRAMS, SPACE)
CASES = [(name, schedule) for name in SPACE["OPTIMIZERS"] for schedule in SPACE["SCHEDULES"]]


def run_of(*args, **keywords):
    return SPACE["run_of"](*args, **keywords)


def resumed(path, name, schedule, steps):
    with aleator.ParamStore() as store:
        svi = run_of(name, schedule, steps, rng=99)
        svi.load(path)
        svi.run(DATA)
        return svi.losses, SPACE["content"](store)


@pytest.mark.parametrize(("name", "schedule"), CASES, ids=lambda value: value)
@pytest.mark.parametrize("before", [0, 3])
def test_every_optimizer_and_schedule_continues_bit_for_bit(tmp_path, name, schedule, before):
    """Also before the first step; a decaying average in a buffer goes with it."""
    with aleator.ParamStore() as store:
        whole = run_of(name, schedule, before + 3).run(DATA)
        expected = whole.losses, SPACE["content"](store)
        assert "baseline/z" in store.buffers
    with aleator.ParamStore():
        run_of(name, schedule, before).run(DATA).save(tmp_path / "run.pt")
    assert resumed(tmp_path / "run.pt", name, schedule, 3) == expected


def test_a_fresh_process_continues_bit_for_bit(tmp_path):
    """All of them in one process, which knows nothing but the files."""
    expected = {}
    for name, schedule in CASES[::2]:
        with aleator.ParamStore() as store:
            run_of(name, schedule, 3).run(DATA).save(tmp_path / f"{name}-{schedule}.pt")
            whole = run_of(name, schedule, 3, rng=1)
            whole.load(tmp_path / f"{name}-{schedule}.pt")
            whole.run(DATA)
            expected[f"{name}-{schedule}"] = whole.losses, SPACE["content"](store)
    script = (
        "import torch, warnings; warnings.simplefilter('error')\n"
        + PROGRAMS
        + textwrap.dedent(
            f"""
        torch.set_num_threads({torch.get_num_threads()})
        found = {{}}
        for name, schedule in {CASES[::2]!r}:
            with aleator.ParamStore() as store:
                svi = run_of(name, schedule, 3, rng=5)
                svi.load({str(tmp_path)!r} + f"/{{name}}-{{schedule}}.pt")
                svi.run(DATA)
                found[f"{{name}}-{{schedule}}"] = svi.losses, content(store)
        print(repr(found))
        """
        )
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert eval(done.stdout) == expected


def state_of(svi, store):
    return (
        {name: (id(leaf), leaf.tolist()) for name, leaf in store.named_parameters()},
        {name: (id(buffer), buffer.tolist()) for name, buffer in store.buffers.items()},
        repr(svi.optim.state_to_payload(svi._training.state)),
        svi.steps_taken,
        list(svi.losses),
        svi._training.source.get_state()["cpu"].tolist(),
    )


@pytest.fixture(params=["Adam", "class"])
def saved(request, tmp_path):
    """A run, its store and a file of it."""
    with aleator.ParamStore() as store:
        svi = run_of(request.param, "exponential", 3).run(DATA)
        svi.save(tmp_path / "run.pt")
        yield svi, store, tmp_path / "run.pt"


def refused(saved, match="."):
    svi, store, path = saved
    before = state_of(svi, store)
    with pytest.raises(CheckpointError, match=match):
        svi.load(path)
    assert state_of(svi, store) == before


def loads_or_is_refused(saved):
    """No other exception; and where it is refused, nothing has changed."""
    svi, store, path = saved
    before = state_of(svi, store)
    try:
        svi.load(path)
    except CheckpointError:
        assert state_of(svi, store) == before
        return False
    return True


# Older and newer


def as_version_1(content):
    """What the first layout held: neither a version nor a writer."""
    return {key: value for key, value in content.items() if key not in ("version", "writer")}


def test_a_file_of_the_first_layout_is_read(saved):
    svi, store, path = saved
    expected = state_of(svi, store)
    content = read_checkpoint(path, KIND)
    assert (content["version"], content["writer"]) == (2, f"aleator-svi-elbo {aleator.__version__}")
    write_checkpoint(path, as_version_1(content), KIND)
    svi.load(path)
    assert state_of(svi, store) == expected


@pytest.mark.parametrize(
    ("version", "writer", "match"),
    [
        (3, "aleator-svi-elbo 9.0", r"a run of SVI in version 3, written by aleator-svi-elbo 9\.0.*pip install -U"),
        (0, "x", "0 is no version"),
        ("2", "x", "'2' is no version"),
        (True, "x", "True is no version"),
    ],
)
def test_other_versions_are_refused_by_name(saved, version, writer, match):
    content = read_checkpoint(saved[2], KIND)
    write_checkpoint(saved[2], {**content, "version": version, "writer": writer}, KIND)
    refused(saved, match)


@pytest.mark.parametrize("version", [0, -1, FORMAT_VERSION + 1, "1", None])
def test_other_versions_of_the_envelope(saved, version):
    content = read_checkpoint(saved[2], KIND)
    envelope = {"format": FORMAT, "version": version, "kind": KIND, "content": content}
    envelope["checksum"] = checksum([version, KIND, content])
    torch.save(envelope, saved[2])
    refused(saved, "version")


# Damaged


def test_cut_short_at_every_place(saved):
    whole = saved[2].read_bytes()
    for kept in range(0, len(whole), max(1, len(whole) // 150)):
        saved[2].write_bytes(whole[:kept])
        refused(saved)


def test_bits_flipped_anywhere(saved):
    """Either it does not matter (padding between entries), or it is noticed."""
    svi, store, path = saved
    whole, expected = path.read_bytes(), state_of(svi, store)
    place = random.Random(0)
    noticed = 0
    for _ in range(200):
        damaged = bytearray(whole)
        damaged[place.randrange(len(whole))] ^= 1 << place.randrange(8)
        path.write_bytes(bytes(damaged))
        if loads_or_is_refused(saved):
            assert state_of(svi, store) == expected
        else:
            noticed += 1
    assert noticed > 50


# Meant to harm


def test_code_in_a_file_is_not_run(saved, tmp_path):
    class Harm:
        def __reduce__(self):
            return open, (str(tmp_path / "harmed"), "w")

    torch.save({"format": FORMAT, "version": 1, "kind": KIND, "content": Harm(), "checksum": ""}, saved[2])
    refused(saved, "nothing in it was run")
    saved[2].write_bytes(pickle.dumps(Harm()))
    refused(saved)
    assert not (tmp_path / "harmed").exists()


def rewritten(path, make):
    """Change what a file holds, with a checksum that fits."""
    content = make(read_checkpoint(path, KIND))
    envelope = {"format": FORMAT, "version": FORMAT_VERSION, "kind": KIND, "content": content}
    envelope["checksum"] = ""
    torch.save(envelope, path)


def test_a_tensor_that_repeats_one_number_without_end(saved):
    """A few bytes that would be terabytes if anybody looked at them one by one."""
    rewritten(saved[2], lambda content: {**content, "losses": torch.zeros(1).expand(10**13)})
    refused(saved, "larger than the file")


def test_a_list_that_holds_itself_a_million_times(saved):
    def make(content):
        nested = [1.0]
        for _ in range(60):
            nested = [nested, nested]
        return {**content, "losses": nested}

    rewritten(saved[2], make)
    refused(saved, "larger than the file")


def test_entries_that_unpack_to_more_than_there_is(saved):
    packed = io.BytesIO()
    with zipfile.ZipFile(saved[2]) as old, zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as new:
        for entry in old.infolist():
            new.writestr(entry.filename, old.read(entry) + bytes(10_000))
    saved[2].write_bytes(packed.getvalue())
    refused(saved, "declare more than the file holds")


NASTY = [
    None,
    -1,
    float("nan"),
    "text",
    [],
    {},
    {"a": 1},
    torch.tensor(float("nan")),
    torch.tensor(-1.0),
    torch.tensor(0.5),
    torch.zeros(2, dtype=torch.int64),
    torch.zeros(3, 3, 3),
    torch.zeros(3, dtype=torch.complex64),
    torch.zeros(0),
]


def places(value, way=()):
    yield way
    if isinstance(value, dict):
        for key in value:
            yield from places(value[key], (*way, key))
    elif isinstance(value, list):
        for index in range(len(value)):
            yield from places(value[index], (*way, index))


@pytest.mark.parametrize("name", ["Adam", "class", "LBFGS"])
def test_anything_in_any_place(tmp_path, name):
    """At every place of the content something else, or nothing: a typed error, or a run that can be stepped."""
    path = tmp_path / "run.pt"
    with aleator.ParamStore() as store:
        svi = run_of(name, "exponential", 3).run(DATA)
        svi.save(path)
        content = read_checkpoint(path, KIND)
        chosen = random.Random(0)
        for way in [way for way in places(content) if way]:
            for nasty in chosen.sample(NASTY, 1):
                damaged = copy.deepcopy(content)
                inner = damaged
                for key in way[:-1]:
                    inner = inner[key]
                inner[way[-1]] = nasty
                write_checkpoint(path, damaged, KIND)
                loads_or_is_refused((svi, store, path))
            damaged = copy.deepcopy(content)
            inner = damaged
            for key in way[:-1]:
                inner = inner[key]
            del inner[way[-1]]
            write_checkpoint(path, damaged, KIND)
            loads_or_is_refused((svi, store, path))
            if isinstance(inner, dict):
                inner.update({way[-1]: None, "extra": torch.zeros(2)})
                write_checkpoint(path, damaged, KIND)
                loads_or_is_refused((svi, store, path))


@pytest.mark.parametrize("count", [float("nan"), -1.0, 0.5, float("inf")])
@pytest.mark.parametrize("name", ["Adam", "class"])
def test_a_step_count_that_is_none(tmp_path, name, count):
    """It would turn parameters into NaN at the next step."""
    with aleator.ParamStore() as store:
        svi = run_of(name, "none", 3).run(DATA)
        svi.save(tmp_path / "run.pt")
        content = read_checkpoint(tmp_path / "run.pt", KIND)
        saved_state = content["optimizer"]
        table = saved_state["torch"]["state"][0] if name == "class" else saved_state["slots"]["loc"]
        table["step"] = torch.tensor(count)
        write_checkpoint(tmp_path / "run.pt", content, KIND)
        refused((svi, store, tmp_path / "run.pt"), "Adam")
