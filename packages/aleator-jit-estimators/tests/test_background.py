"""Builds in a child process: what happens when it fails, is killed, is late, or is one of two."""

from __future__ import annotations

import os
import pickle
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest
import torch

import aleator
import aleator.distributions as dist
import aleator_jit_estimators.background as background
import aleator_jit_estimators.making as making
from aleator.errors import AleatorWarning
from aleator_jit_estimators import compile_report
from aleator_jit_estimators.background import Building, Job, build_job, can_build_in_background
from aleator_jit_estimators.capture import capture
from aleator_jit_estimators.disk_cache import DiskCache
from aleator_jit_estimators.torch_packages import find_compiler

sys.path.insert(0, str(Path(__file__).parent))
from test_compiled_step import DATA, assert_same, pair  # the path is set above

needs_spawn = pytest.mark.skipif(not can_build_in_background(), reason="this system cannot spawn processes")


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("ALEATOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("ALEATOR_COMPILE_BACKEND", raising=False)
    monkeypatch.setattr(making, "find_compiler", lambda: "a compiler")
    monkeypatch.setattr(background, "_LEAST", 0.0)


@pytest.fixture
def child(monkeypatch, tmp_path):
    """Return what puts a shell script in the place of the child process."""

    def put(text):
        script = tmp_path / "child.sh"
        script.write_text(f"#!/bin/sh\n{text}\n", encoding="utf-8")
        script.chmod(0o700)
        monkeypatch.setattr(background.sys, "executable", str(script))

    return put


def normal_model(data):
    loc = aleator.sample("loc", dist.Normal(0.0, 5.0))
    with aleator.plate("data", data.shape[0]):
        aleator.sample("x", dist.Normal(loc, 1.0), obs=data)


def normal_guide(data):
    aleator.sample("loc", dist.Normal(aleator.param("at", torch.tensor(0.5)), 1.0))


def wait_for(happens, seconds=60.0):
    end = time.monotonic() + seconds
    while not happens():
        assert time.monotonic() < end, "this takes too long"
        time.sleep(0.01)


def left_in(folder):
    return sorted(path.name for path in folder.iterdir() if path.name != ".lock")


@needs_spawn
def test_steps_run_uncompiled_while_the_child_works_and_after_it_failed(child, tmp_path):
    """Catches a step that waits for its package, and a failure that nobody hears of or that comes back each step."""
    child(f"while [ ! -e {tmp_path}/go ]; do sleep 0.02; done; echo the compiler exploded >&2; exit 3")
    eager, compiled, state = pair("auto")
    other = state
    for _ in range(4):
        state, loss = eager.update(state, (DATA,), (DATA,))
        other, found = compiled.update(other, (DATA,), (DATA,))
        assert_same((state, loss), (other, found), rtol=0, atol=0)
    assert compile_report(compiled).waiting == 1
    (tmp_path / "go").touch()
    step = compiled.step_function
    (building,) = step._programs.values()
    wait_for(building.is_over)
    with pytest.warns(AleatorWarning, match="the compiler exploded"):
        compiled.update(other, (DATA,), (DATA,))
    for _ in range(3):
        compiled.update(other, (DATA,), (DATA,))
    assert compile_report(compiled).waiting == 0
    assert left_in(tmp_path / "cache") == []


@needs_spawn
def test_a_killed_child_leaves_nothing_half_made(child, tmp_path):
    child("sleep 600")
    _, compiled, state = pair("auto")
    for _ in range(3):
        compiled.update(state, (DATA,), (DATA,))
    (building,) = compiled.step_function._programs.values()
    os.kill(building.pid, signal.SIGKILL)
    wait_for(building.is_over)
    with pytest.warns(AleatorWarning, match="in the background failed"):
        compiled.update(state, (DATA,), (DATA,))
    assert left_in(tmp_path / "cache") == []
    assert DiskCache().names() == []


def test_one_call_builds_nothing(monkeypatch):
    """Catches a child process for each estimate that somebody takes once."""
    monkeypatch.setattr(background, "_LEAST", 60.0)
    _, compiled, state = pair("auto")
    for _ in range(3):
        compiled.update(state, (DATA,), (DATA,))
    assert compile_report(compiled).waiting == 0
    assert not DiskCache().folder.exists()


EXITING = """
import sys, warnings; warnings.simplefilter("ignore")  # torch says that there is no numpy
import torch; warnings.simplefilter("error")
sys.path.insert(0, {tests!r})
import test_compiled_step as here, aleator_jit_estimators.background as background
import aleator_jit_estimators.making as making
background._LEAST = 0.0
making.find_compiler = lambda: "a compiler"
background.sys.executable = {script!r}
_, compiled, state = here.pair("auto")
for _ in range(3):
    compiled.update(state, (here.DATA,), (here.DATA,))
print(here.compile_report(compiled).waiting)
(building,) = compiled.step_function._programs.values()
print(building.pid)
"""


@needs_spawn
def test_the_interpreter_does_not_wait_for_the_child(tmp_path):
    """Catches an exit that hangs on a build, or that complains of a process that still runs."""
    script = tmp_path / "child.sh"
    script.write_text("#!/bin/sh\nsleep 600\n", encoding="utf-8")
    script.chmod(0o700)
    code = EXITING.format(tests=str(Path(__file__).parent), script=str(script))
    done = subprocess.run([sys.executable, "-c", code], timeout=120, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    waiting, pid = done.stdout.split()
    assert waiting == "1"
    os.kill(int(pid), signal.SIGKILL)


def job_in(cache, name="one"):
    """Write a job as a parent does."""
    cache.prepare()
    recorded = capture(lambda x: (x + torch.rand(()),), [torch.ones(3, 2).t()], ())
    folder = cache.folder / f".building-{time.monotonic_ns()}"
    folder.mkdir(mode=0o700)
    inputs = tuple(background._description(value) for value in recorded.inputs)
    job = Job(name, recorded.graph, inputs, torch.get_num_threads(), False, "highest")
    (folder / "job.pickle").write_bytes(pickle.dumps(job))
    return folder


def fake_build(graph, inputs, path):
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("inputs", repr([(tuple(value.shape), value.stride()) for value in inputs]))


def test_a_job_holds_all_that_a_child_needs(monkeypatch, tmp_path):
    seen = []

    def build(graph, inputs, path, form):
        seen.extend(inputs)
        fake_build(graph, inputs, path)

    monkeypatch.setattr(background, "build_package", build)
    monkeypatch.setattr(os, "nice", lambda by: 0)
    cache = DiskCache(tmp_path / "cache")
    folder = job_in(cache)
    build_job(folder)
    assert cache.names() == ["one"]
    assert left_in(cache.folder) == ["one.json", "one.pt2"]
    assert (seen[0].shape, seen[0].stride()) == ((2, 3), (1, 2))


def test_a_job_in_an_open_folder_is_not_read(monkeypatch, tmp_path):
    """Catches code of somebody else that runs because it lay in a folder that all may write to."""
    cache = DiskCache(tmp_path / "cache")
    folder = job_in(cache)
    cache.folder.chmod(0o777)
    monkeypatch.setattr(pickle, "loads", lambda data: pytest.fail("the job was read"))
    with pytest.raises(PermissionError, match="open to others"):
        build_job(folder)


CHILD = """
import sys, os, time, pathlib
sys.path.insert(0, {tests!r})
import test_background as here, aleator_jit_estimators.background as background
def build(graph, inputs, path, form):
    with open({log!r}, "a") as file:
        file.write("built\\n")
    time.sleep(1.0)
    here.fake_build(graph, inputs, path)
background.build_package = build
background.build_job(pathlib.Path(sys.argv[1]))
"""


def test_of_two_processes_with_one_job_one_builds(tmp_path):
    """Catches two builds that overwrite each other, or a second one that does not see the first one's package."""
    cache, log = DiskCache(tmp_path / "cache"), tmp_path / "log"
    code = CHILD.format(tests=str(Path(__file__).parent), log=str(log))
    folders = [job_in(cache), job_in(cache)]
    children = [subprocess.Popen([sys.executable, "-c", code, str(folder)]) for folder in folders]
    assert [each.wait(timeout=120) for each in children] == [0, 0]
    assert log.read_text(encoding="utf-8") == "built\n"
    assert left_in(cache.folder) == ["one.json", "one.pt2"]
    assert cache.find("one") is not None


def test_what_killed_builds_left_is_removed_after_a_day(tmp_path):
    cache = DiskCache(tmp_path / "cache")
    old, new = job_in(cache, "old"), job_in(cache, "new")
    os.utime(old, (0.0, 0.0))
    cache.prepare()
    assert (old.exists(), new.exists()) == (False, True)


def test_damaged_package_is_built_again(monkeypatch, tmp_path):
    """Catches a file cut short by a full disk that is loaded, or that keeps its step uncompiled for ever."""
    built, loaded = [], []

    def build(graph, inputs, path, form):
        built.append(graph)
        fake_build(graph, inputs, path)

    def load(path, form):
        loaded.append(path)
        return lambda inputs: list(built[-1](*inputs))

    monkeypatch.setattr(making, "build_package", build)
    monkeypatch.setattr(making, "load_package", load)
    for damage in (False, True, False):
        eager, compiled, state = pair("aot")
        if damage:
            (package,) = (tmp_path / "cache").glob("*.pt2")
            package.write_bytes(package.read_bytes()[:-3])
        assert_same(compiled.update(state, (DATA,), (DATA,)), eager.update(state, (DATA,), (DATA,)))
    assert len(built) == 2
    assert len(loaded) == 3
    assert compile_report(compiled).loaded == 1


TWICE = """
import sys, warnings; warnings.simplefilter("ignore")  # torch says that there is no numpy
import torch; warnings.simplefilter("error")
sys.path.insert(0, {tests!r})
import torch, test_background as here
eager, compiled, state = here.pair("aot", model=here.normal_model, guide=here.normal_guide)
found = compiled.update(state, (here.DATA,), (here.DATA,))
here.assert_same(found, eager.update(state, (here.DATA,), (here.DATA,)), rtol=1e-4, atol=1e-4)
print(here.compile_report(compiled).eager)
"""


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="AOTInductor needs a C++ compiler to build a package")
def test_two_processes_that_build_one_package_do_no_harm(tmp_path):
    """Catches a package that is loaded while another process writes it."""
    code = TWICE.format(tests=str(Path(__file__).parent))
    both = [subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True) for _ in range(2)]
    assert [each.communicate(timeout=600)[0] for each in both] == ["()\n", "()\n"]
    assert len(DiskCache().names()) == 1
    assert len(left_in(DiskCache().folder)) == 2


@pytest.mark.slow
@needs_spawn
@pytest.mark.skipif(shutil.which("g++") is None, reason="AOTInductor needs a C++ compiler to build a package")
def test_training_moves_over_when_the_package_is_there(monkeypatch):
    """SEMANTICS 77: before and after the move the steps are the eager ones, to rounding, on the same draws."""
    monkeypatch.setattr(making, "find_compiler", find_compiler)
    eager, compiled, state = pair("auto", model=normal_model, guide=normal_guide)
    after = 0
    while after < 10:
        found = compiled.update(state, (DATA,), (DATA,))
        state, loss = eager.update(state, (DATA,), (DATA,))
        assert_same(found, (state, loss), rtol=1e-4, atol=1e-4)
        assert_same(found[0].rng, state.rng, rtol=0, atol=0)
        after += compile_report(compiled).built
        time.sleep(0.0 if after else 0.1)
    assert compile_report(compiled).eager == ()


def test_a_building_is_what_it_says():
    recorded = capture(lambda x: (x,), [torch.ones(1)], ())
    building = Building(recorded, "one", DiskCache())
    assert not building.has_started
    assert building.pays(0.0)
