"""Files: safe from anybody, whole whatever fails, and exact."""

import io
import json
import os
import pickle
import random
import stat
import subprocess
import sys
import threading
import zipfile

import pytest
import torch
from torch.distributions import constraints, transform_to
from torch.distributions.transforms import identity_transform

from aleator.errors import CheckpointError, ParameterError
from aleator.params import ParamStore
from aleator.params import content as content_module
from aleator.params.constraint_codec import same_constraint
from aleator.params.files import FORMAT, FORMAT_VERSION, read_checkpoint, write_checkpoint
from aleator.params.replacement import replacing
from aleator.params.state import decode_state, encode_state

KIND = "aleator.params"

VALUES = {
    "real": (constraints.real, torch.tensor([1.5, -0.0, 1e-40])),
    "real double": (constraints.real, torch.tensor([0.1], dtype=torch.float64)),
    "real half": (constraints.real, torch.tensor([0.1], dtype=torch.bfloat16)),
    "complex": (constraints.real, torch.tensor([0.1 + 2j])),
    "empty": (constraints.real, torch.zeros(0, 3)),
    "real_vector": (constraints.real_vector, torch.tensor([1.0, 2.0])),
    "positive": (constraints.positive, torch.tensor([[0.1, 2.0], [3.0, 4.0]])),
    "nonnegative": (constraints.nonnegative, torch.tensor(0.3)),
    "greater_than": (constraints.greater_than(0.1), torch.tensor(0.3)),
    "greater_than_eq": (constraints.greater_than_eq(torch.tensor([0.1, 0.2])), torch.tensor([0.3, 0.4])),
    "less_than": (constraints.less_than(0.7), torch.tensor(0.3)),
    "unit_interval": (constraints.unit_interval, torch.tensor(0.3)),
    "interval": (constraints.interval(torch.tensor(-1.0), 3), torch.tensor(0.3)),
    "half_open_interval": (constraints.half_open_interval(0.0, 0.9), torch.tensor(0.3)),
    "simplex": (constraints.simplex, torch.tensor([0.2, 0.3, 0.5])),
    "lower_cholesky": (constraints.lower_cholesky, torch.tensor([[1.0, 0.0], [0.3, 2.0]])),
    "corr_cholesky": (constraints.corr_cholesky, torch.tensor([[1.0, 0.0], [0.6, 0.8]])),
    "positive_definite": (constraints.positive_definite, torch.tensor([[2.0, 0.3], [0.3, 1.0]])),
    "positive_semidefinite": (constraints.positive_semidefinite, torch.tensor([[2.0, 0.3], [0.3, 1.0]])),
    "independent": (constraints.independent(constraints.positive, 1), torch.tensor([0.3, 0.4])),
    "stack": (constraints.stack([constraints.positive, constraints.real], -1), torch.tensor([0.3, -0.4])),
    "cat": (constraints.cat([constraints.positive, constraints.real], -1, [2, 1]), torch.tensor([0.3, 0.4, -1.0])),
}


def make_store():
    store = ParamStore()
    for name, (constraint, value) in VALUES.items():
        store.read(name, value, constraint)
    store.buffers["running_mean"] = torch.tensor([1.0, 2.0])
    store.buffers["count"] = torch.tensor(3)
    store.buffers["mask"] = torch.tensor([True, False])
    return store


@pytest.fixture(params=["anonymous", "named", "refused link"])
def system(request, monkeypatch):
    """Every way of writing aside: without a name, with one, and without one where naming is refused later."""
    if request.param == "named":
        monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    elif request.param == "refused link":

        def refuse(*args, **kwargs):
            raise PermissionError("no link here")

        monkeypatch.setattr(os, "link", refuse)
    return request.param


# Exact


def test_a_store_comes_back_bit_for_bit(tmp_path, system):
    store, back = make_store(), ParamStore()
    store.save(tmp_path / "params.pt")
    back.load(tmp_path / "params.pt")
    assert list(back) == list(VALUES)
    for name in VALUES:
        ours, theirs = store.unconstrained(name), back.unconstrained(name)
        assert ours.dtype is theirs.dtype
        assert ours.shape == theirs.shape
        assert content_module.checksum(ours) == content_module.checksum(theirs)
        assert theirs.is_leaf
        assert theirs.requires_grad
        assert same_constraint(store.constraint(name), back.constraint(name))
        assert torch.equal(store[name], back[name])
        assert back[name].unconstrained() is theirs
    assert back.buffers["count"].dtype is torch.int64
    assert all(back.buffers[name].equal(value) for name, value in store.buffers.items())
    assert os.listdir(tmp_path) == ["params.pt"]


def test_the_file_holds_the_constraint_and_the_unconstrained_values(tmp_path):
    store = ParamStore()
    store.read("p", torch.tensor([0.2, 0.3, 0.5]), constraints.simplex)
    store.save(tmp_path / "params.pt")
    plain = torch.load(tmp_path / "params.pt", weights_only=True)
    assert (plain["format"], plain["version"], plain["kind"]) == (FORMAT, FORMAT_VERSION, KIND)
    saved = plain["content"]["params"]["p"]
    assert saved["constraint"] == {"name": "simplex"}
    assert saved["unconstrained"].equal(store.unconstrained("p"))  # K values, gauge and all


def test_loading_keeps_leaves_and_buffers_that_fit(tmp_path):
    store = make_store()
    store.save(tmp_path / "params.pt")
    module = torch.nn.Linear(1, 1)
    with ParamStore() as other:
        other["real_vector"] = torch.zeros(2)
        other["unit_interval"] = torch.zeros(5)
        other.register("positive", torch.nn.Parameter(torch.zeros(2, 2)), constraints.positive)
        other.adopt("kept", module.bias)
        other.buffers["running_mean"] = torch.zeros(2)
        held = {name: other.unconstrained(name) for name in other}
        mean = other.buffers["running_mean"]
        other.load(tmp_path / "params.pt")
        assert other.unconstrained("positive") is held["positive"]
        assert torch.equal(held["positive"], store.unconstrained("positive"))
        assert other["real_vector"] is held["real_vector"]
        assert other["unit_interval"].item() == store["unit_interval"].item()
        assert other["kept"] is module.bias
        assert mean.tolist() == [1.0, 2.0]


def test_views_save_their_part_only(tmp_path):
    store = ParamStore()
    flat = torch.zeros(1_000_000)
    store.register("x", flat[:3].requires_grad_())
    store.save(tmp_path / "params.pt")
    assert (tmp_path / "params.pt").stat().st_size < 10_000


def test_map_location_is_passed_on(tmp_path):
    asked = []
    store = ParamStore()
    store["x"] = 1.0
    store.save(tmp_path / "params.pt")
    other = ParamStore()
    other.load(tmp_path / "params.pt", map_location=lambda storage, where: asked.append(where) or storage)
    assert asked == ["cpu"]
    assert other["x"].item() == 1.0


def test_a_state_fits_into_a_larger_checkpoint(tmp_path):
    store = make_store()
    write_checkpoint(tmp_path / "run.pt", {"store": encode_state(store.get_state()), "step": 7}, "run")
    saved = read_checkpoint(tmp_path / "run.pt", "run")
    back = ParamStore()
    back.set_state(decode_state(saved["store"]))
    assert saved["step"] == 7
    assert torch.equal(back["simplex"], store["simplex"])


def test_payloads_of_plain_data_come_back(tmp_path):
    payload = {
        "none": None,
        "numbers": [1, -2.5, True, 2**70, float("inf")],
        "nested": {"a": {"b": [torch.ones(2), "text", ()]}, 3: "integer keys too"},
        "tuple": (1, "two", torch.tensor(3)),
        "generator": torch.Generator().get_state(),
    }
    write_checkpoint(tmp_path / "x.pt", payload, "x")
    back = read_checkpoint(tmp_path / "x.pt", "x")
    assert content_module.checksum(back) == content_module.checksum(payload)
    assert back["nested"][3] == "integer keys too"
    assert back["numbers"] == payload["numbers"]


@pytest.mark.parametrize(
    ("payload", "where"),
    [
        ({"a": {"b": [1, object()]}}, r"payload\['a'\]\['b'\]\[1\] is a object"),
        ({"a": {1.5: 2}}, r"payload\['a'\] has the key 1.5"),
        ({"a": torch.eye(2).to_sparse()}, r"payload\['a'\] is a tensor of layout torch.sparse_coo"),
        ({"a": len}, "builtin_function_or_method"),
    ],
)
def test_what_a_file_cannot_hold_is_named_before_anything_is_written(tmp_path, payload, where):
    with pytest.raises(TypeError, match=where):
        write_checkpoint(tmp_path / "x.pt", payload, "x")
    assert os.listdir(tmp_path) == []


def test_a_constraint_of_ones_own_is_named_before_anything_is_written(tmp_path, monkeypatch):
    class Odd(type(constraints.real)):
        pass

    monkeypatch.setitem(transform_to._registry, Odd, lambda constraint: identity_transform)
    store = ParamStore()
    store["x"] = 1.0
    store.save(tmp_path / "params.pt")
    before = (tmp_path / "params.pt").read_bytes()
    store.set_state({"params": {"rate": torch.tensor(1.0)}, "constraints": {"rate": Odd()}})
    with pytest.raises(ParameterError, match="parameter 'rate' cannot be written"):
        store.save(tmp_path / "params.pt")
    assert (tmp_path / "params.pt").read_bytes() == before


def test_different_contents_have_different_checksums():
    contents = [
        None, False, 0, 0.0, -0.0, "", "0", [], (), {}, [[]], [None], ["a", "b"], ["ab"], {"a": "b"}, {1: 2}, {"1": 2},
        [1, 2], [12], torch.zeros(2), torch.zeros(2, 1), torch.zeros(2, dtype=torch.int32),
        torch.zeros(0), torch.zeros(0, 2),
    ]  # fmt: skip
    assert len({content_module.checksum(content) for content in contents}) == len(contents)
    same = torch.arange(4.0)
    assert content_module.checksum({"a": same, "b": 1}) == content_module.checksum({"b": 1, "a": same.clone()})
    assert content_module.checksum(same[::2]) == content_module.checksum(torch.tensor([0.0, 2.0]))
    with pytest.raises(TypeError):
        content_module.checksum({1, 2})


# Safe


class Hostile:
    """Touches a file when it is unpickled."""

    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return os.mkdir, (self.marker,)


def hostile_files(marker):
    payload = {"format": FORMAT, "version": 1, "kind": KIND, "checksum": "", "content": {"params": Hostile(marker)}}
    for thing in (Hostile(marker), payload):
        yield pickle.dumps(thing)
        for zipped in (True, False):
            file = io.BytesIO()
            torch.save(thing, file, _use_new_zipfile_serialization=zipped)
            yield file.getvalue()


def test_a_hostile_pickle_is_refused_and_does_not_run(tmp_path):
    marker = tmp_path / "ran"
    pickle.loads(pickle.dumps(Hostile(marker)))
    assert marker.exists()  # it would run
    marker.rmdir()
    store = make_store()
    for number, data in enumerate(hostile_files(marker)):
        path = tmp_path / f"{number}.pt"
        path.write_bytes(data)
        with pytest.raises(CheckpointError, match=str(path)) as caught:
            store.load(path)
        assert "weights_only" not in str(caught.value)
        assert caught.value.__cause__ is None or "weights_only" not in str(caught.value.__cause__)
        assert not marker.exists()
    assert number == 5


def rewritten(path, **changes):
    envelope = torch.load(path, weights_only=True)
    torch.save({**envelope, **changes}, path)


def test_a_newer_version_another_kind_and_a_foreign_file_are_told_apart(tmp_path):
    path, store = tmp_path / "params.pt", make_store()
    store.save(path)
    rewritten(path, version=FORMAT_VERSION + 1)
    with pytest.raises(CheckpointError, match="format version 2, and this Aleator reads up to 1; upgrade"):
        store.load(path)
    write_checkpoint(path, {"params": {}, "buffers": {}}, "aleator.svi")
    with pytest.raises(CheckpointError, match=r"holds 'aleator.svi', but 'aleator.params' was asked for"):
        store.load(path)
    torch.save({"weight": torch.ones(2)}, path)
    with pytest.raises(CheckpointError, match="no file of Aleator"):
        store.load(path)
    write_checkpoint(path, {"something": 1}, KIND)
    with pytest.raises(CheckpointError, match="saved parameters are damaged or of another kind"):
        store.load(path)
    with pytest.raises(FileNotFoundError):
        store.load(tmp_path / "missing.pt")
    with pytest.raises(IsADirectoryError):
        store.load(tmp_path)


@pytest.mark.parametrize(
    "changes", [{"content": {}}, {"checksum": "0" * 64}, {"checksum": None}, {"version": "1"}, {"content": {"a": {1}}}]
)
def test_a_content_that_does_not_match_its_checksum_is_refused(tmp_path, changes):
    path, store = tmp_path / "params.pt", make_store()
    store.save(path)
    rewritten(path, **changes)
    with pytest.raises(CheckpointError, match="damaged"):
        store.load(path)


def test_a_cut_file_is_refused_at_every_length(tmp_path):
    path, store = tmp_path / "params.pt", make_store()
    store.save(path)
    data = path.read_bytes()
    for length in [*range(0, 64, 7), *range(64, len(data), len(data) // 60), len(data) - 1]:
        path.write_bytes(data[:length])
        with pytest.raises(CheckpointError, match=r"params\.pt"):
            store.load(path)


def test_a_flipped_bit_is_refused_or_without_effect(tmp_path):
    """Would catch a reader without a checksum: most of the bits flipped here lie in the numbers."""
    path, store = tmp_path / "params.pt", ParamStore()
    store["x"] = torch.linspace(0, 1, 4096)
    store.save(path)
    data, expected = path.read_bytes(), store["x"].detach().clone()
    chance, refused = random.Random(0), 0
    for position in [*range(0, 1200, 13), *(chance.randrange(len(data)) for _ in range(100))]:
        damaged = bytearray(data)
        damaged[position] ^= 1 << chance.randrange(8)
        path.write_bytes(damaged)
        other = ParamStore()
        try:
            other.load(path)
        except CheckpointError:
            refused += 1
            assert len(other) == 0
        else:
            assert torch.equal(other["x"], expected)
    assert refused > 100


def test_damage_inside_the_numbers_is_found_by_our_checksum(tmp_path):
    """The archive's own sums are made right again, as a careless or hostile tool would."""
    path, store = tmp_path / "params.pt", ParamStore()
    store["x"] = torch.ones(4)
    store.save(path)
    with zipfile.ZipFile(path) as archive:
        entries = [(info.filename, archive.read(info)) for info in archive.infolist()]
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name, data in entries:
            changed = torch.full((4,), 2.0).view(torch.uint8).tolist() if name.endswith("data/0") else data
            archive.writestr(name, bytes(changed))
    assert torch.load(path, weights_only=True)["content"]["params"]["x"]["unconstrained"].tolist() == [2.0] * 4
    with pytest.raises(CheckpointError, match="does not match its checksum"):
        store.load(path)


def test_a_load_that_fails_changes_nothing(tmp_path):
    path, store = tmp_path / "params.pt", make_store()
    bad = encode_state(store.get_state())
    bad["params"]["real"]["unconstrained"] = torch.full((3,), 9.0)
    bad["params"]["zzz"] = {"constraint": {"name": "no such"}, "unconstrained": torch.zeros(())}
    write_checkpoint(path, bad, KIND)
    before = encode_state(store.get_state())
    with pytest.raises(CheckpointError, match="parameter 'zzz': the file names an unknown constraint"):
        store.load(path)
    assert content_module.checksum(before) == content_module.checksum(encode_state(store.get_state()))


# Whole


class Refused(OSError):
    pass


@pytest.mark.parametrize("stage", ["torch.save", "os.fsync", "os.replace"])
def test_a_failed_save_leaves_the_last_good_file_and_nothing_aside(tmp_path, monkeypatch, system, stage):
    path, store = tmp_path / "params.pt", ParamStore()
    store["x"] = 1.0
    store.save(path)
    good = path.read_bytes()
    store["x"] = 2.0

    def fail(*args, **kwargs):
        if stage == "torch.save":
            args[1].write(b"half a file")
        raise Refused("disk full")

    monkeypatch.setattr(stage, fail)
    with pytest.raises(Refused, match="disk full"):
        store.save(path)
    assert path.read_bytes() == good
    assert os.listdir(tmp_path) == ["params.pt"]
    monkeypatch.undo()
    monkeypatch.setattr("os.fsync", lambda descriptor: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        store.save(path)
    assert path.read_bytes() == good
    assert os.listdir(tmp_path) == ["params.pt"]


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="no such folder") as caught:
        ParamStore().save(tmp_path / "missing" / "params.pt")
    assert caught.value.filename == str(tmp_path / "missing")


def test_permissions_and_links_stay(tmp_path, system):
    target, link, store = tmp_path / "real.pt", tmp_path / "link.pt", ParamStore()
    store.save(target)
    target.chmod(0o600)
    link.symlink_to(target)
    store["x"] = 1.0
    store.save(link)
    assert link.is_symlink()
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    store.clear()
    store.load(target)
    assert store["x"].item() == 1.0


def test_new_files_follow_the_umask(tmp_path, system):
    old = os.umask(0o027)
    try:
        ParamStore().save(tmp_path / "params.pt")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "params.pt").stat().st_mode) == 0o640


def test_a_partial_file_in_use_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.delattr(os, "O_TMPFILE", raising=False)
    path = tmp_path / "params.pt"
    with replacing(path) as file:
        file.write(b"slow")
        write_checkpoint(path, {"x": 1}, "x")
        assert len(os.listdir(tmp_path)) == 2
    assert path.read_bytes() == b"slow"
    assert os.listdir(tmp_path) == ["params.pt"]


def test_a_stale_partial_file_is_removed_by_the_next_save(tmp_path):
    path = tmp_path / "[a]*.pt"
    stale = tmp_path / ".[a]*.pt.0123456789abcdef.aleator-partial"
    others = [tmp_path / ".b.pt.0123456789abcdef.aleator-partial", tmp_path / ".[a]*.pt.mine"]
    for file in (stale, *others):
        file.write_bytes(b"half a file")
    ParamStore().save(path)
    assert not stale.exists()
    assert all(file.exists() for file in others)


def test_threads_that_save_to_one_path_leave_a_whole_file(tmp_path, system):
    path, failures = tmp_path / "params.pt", []

    def work(number):
        try:
            for _ in range(5):
                write_checkpoint(path, {"x": torch.full((1000,), float(number))}, "x")
        except OSError as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failures
    assert len(read_checkpoint(path, "x")["x"].unique()) == 1
    assert os.listdir(tmp_path) == ["params.pt"]


def test_a_save_while_another_thread_trains_is_readable(tmp_path):
    """Would catch a checksum made before, and of other numbers than, what is written."""
    path, store, stop = tmp_path / "params.pt", ParamStore(), threading.Event()
    store["x"] = torch.zeros(100_000)
    leaf = store["x"]

    def train():
        with torch.no_grad():
            while not stop.is_set():
                leaf.add_(1.0)

    thread = threading.Thread(target=train)
    thread.start()
    try:
        for _ in range(5):
            store.save(path)
            read_checkpoint(path, KIND)
    finally:
        stop.set()
        thread.join()


KILLED_SAVES = """
import json, os, signal, sys
import torch
from aleator.params import ParamStore

folder = sys.argv[1]
torch.set_num_threads(1)
anonymous = getattr(os, "O_TMPFILE", None)
real = {name: getattr(os, name) for name in ("fsync", "link", "replace")}


def die(*args, **kwargs):
    os.kill(os.getpid(), signal.SIGKILL)


def half(content, file):
    file.write(b"half a file")
    file.flush()
    die()


def after(name):
    def call(*args, **kwargs):
        real[name](*args, **kwargs)
        die()
    return call


def second_fsync(descriptor, seen=[]):
    seen.append(real["fsync"](descriptor))
    if len(seen) == 2:
        die()


STAGES = {
    "writing": lambda: setattr(torch, "save", half),
    "exit while writing": lambda: setattr(torch, "save", lambda content, file: (file.write(b"half"), os._exit(9))),
    "before the sync": lambda: setattr(os, "fsync", die),
    "after the sync": lambda: setattr(os, "fsync", after("fsync")),
    "before the link": lambda: setattr(os, "link", die),
    "after the link": lambda: setattr(os, "link", after("link")),
    "before the change": lambda: setattr(os, "replace", die),
    "after the change": lambda: setattr(os, "replace", after("replace")),
    "after the folder's sync": lambda: setattr(os, "fsync", second_fsync),
}


def outcome(path):
    store = ParamStore()
    store.load(path)
    return store["x"].item()


results = {}
for system in ("anonymous", "named"):
    for stage, arrange in STAGES.items():
        if system == "named" and stage.endswith("the link"):
            continue
        place = os.path.join(folder, system + " " + stage)
        os.mkdir(place)
        path = os.path.join(place, "params.pt")
        store = ParamStore()
        store["x"] = 1.0
        store.save(path)
        child = os.fork()
        if child == 0:
            if system == "named":
                os.__dict__.pop("O_TMPFILE", None)
            arrange()
            store["x"] = 2.0
            store.save(path)
            os._exit(0)
        status = os.waitpid(child, 0)[1]
        result = {"status": status, "value": outcome(path), "aside": len(os.listdir(place)) - 1}
        store["x"] = 3.0
        store.save(path)
        result.update(next_value=outcome(path), next_aside=len(os.listdir(place)) - 1)
        results[system + ", " + stage] = result
print(json.dumps(results))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="kills forked processes")
def test_a_killed_save_leaves_the_last_good_file(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", KILLED_SAVES, str(tmp_path)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    results = json.loads(done.stdout)
    assert len(results) == 16
    for stage, result in results.items():
        assert result["status"] != 0, stage
        assert result["value"] == (2.0 if stage.endswith(("after the change", "folder's sync")) else 1.0), stage
        assert (result["next_value"], result["next_aside"]) == (3.0, 0), stage
    if hasattr(os, "O_TMPFILE"):
        # Without a name there is nothing to leave, but between the link and the change of names.
        left = {stage for stage, result in results.items() if stage.startswith("anonymous") and result["aside"]}
        assert left <= {"anonymous, after the link", "anonymous, before the change"}
