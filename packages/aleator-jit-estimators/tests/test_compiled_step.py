"""Compiled steps give what eager ones give, on the data of the moment, and are built once."""

from __future__ import annotations

import shutil
import stat
import subprocess
import sys

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator.distributions import constraints
from aleator.errors import AleatorWarning
from aleator.infer import SVI, Trace_ELBO, compile, functional
from aleator.optim import Adam
from aleator_jit_estimators import compile_report
from aleator_jit_estimators.compiled_step import CompiledStep
from aleator_jit_estimators.disk_cache import DiskCache

DATA = torch.tensor([1.0, 2.5, -0.5, 0.3, 1.7])


def model(data):
    loc = aleator.sample("loc", dist.Normal(0.0, 5.0))
    rate = aleator.sample("rate", dist.Gamma(torch.tensor(2.0), torch.tensor(2.0)))
    with aleator.plate("data", data.shape[0]):
        aleator.sample("x", dist.Normal(loc, rate), obs=data)


def guide(data):
    loc = aleator.param("loc_loc", torch.tensor(0.5))
    scale = aleator.param("loc_scale", torch.tensor(2.0), constraint=constraints.positive)
    shape = aleator.param("rate_shape", torch.tensor(2.0), constraint=constraints.positive)
    aleator.sample("loc", dist.Normal(loc, scale))
    aleator.sample("rate", dist.Gamma(shape, torch.ones(())))


def pair(backend="eager", model=model, guide=guide, args=(DATA,)):
    svi = functional.SVI(model, guide, Trace_ELBO(), Adam(lr=0.05))
    state, _ = svi.init(0, args, args)
    return svi, compile(svi, backend=backend), state


def assert_same(left, right, **tolerance):
    left, right = torch.utils._pytree.tree_leaves(left), torch.utils._pytree.tree_leaves(right)
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        torch.testing.assert_close(one, other, **tolerance)


def test_compiled_is_eager_and_n_steps_compile_once():
    """SEMANTICS 77, 78: bit for bit under one seed, step after step."""
    eager, compiled, state = pair()
    other = state
    for _ in range(6):
        state, loss = eager.update(state, (DATA,), (DATA,))
        other, found = compiled.update(other, (DATA,), (DATA,))
        assert_same((state, loss), (other, found), rtol=0, atol=0)
    assert compile_report(compiled).captured == 1


def test_a_last_short_batch_compiles_once_more():
    """SEMANTICS 78."""
    eager, compiled, state = pair()
    for _ in range(2):
        for batch in (DATA, DATA[:3]):
            args = (batch,), (batch,)
            assert_same(eager.update(state, *args), compiled.update(state, *args), rtol=0, atol=0)
    assert compile_report(compiled).captured == 2


def test_tensors_of_closures_are_looked_up_at_each_call():
    """Catches data that is baked into the graph: changed in place, put in another's place, and of another program."""
    eager_losses, losses = [], []

    def with_data(data):
        def closed_model():
            loc = aleator.sample("loc", dist.Normal(0.0, 5.0))
            with aleator.plate("data", data.shape[0]):
                aleator.sample("x", dist.Normal(loc, 1.0), obs=data)

        def replace(other):
            nonlocal data
            data = other

        return closed_model, replace

    def closed_guide():
        aleator.sample("loc", dist.Normal(aleator.param("at", torch.tensor(0.0)), 1.0))

    data = DATA.clone()
    program, replace = with_data(data)
    eager, compiled, state = pair(model=program, guide=closed_guide, args=())
    for change in (lambda: None, lambda: data.add_(1.0), lambda: replace(DATA * 3.0)):
        change()
        eager_losses.append(eager.update(state)[1])
        losses.append(compiled.update(state)[1])
    assert_same(losses, eager_losses, rtol=0, atol=0)
    assert torch.stack(losses).unique().numel() == 3
    assert compile_report(compiled).captured == 1


def test_another_number_is_another_program():
    """Catches a number in a closure that stays what it was when the graph was recorded."""
    width = 1.0

    def wide_model():
        aleator.sample("z", dist.Normal(4.0, width))

    def point_guide():
        aleator.sample("z", dist.Delta(aleator.param("at", torch.tensor(0.0))))

    eager, compiled, state = pair(model=wide_model, guide=point_guide, args=())
    first = compiled.update(state)[1]
    width = 3.0
    assert_same(compiled.update(state), eager.update(state), rtol=0, atol=0)
    assert compiled.update(state)[1] != first


def test_an_argument_passed_twice_and_two_arguments():
    """``make_fx`` takes one tensor passed twice for one input: the graph would then read the first for both."""

    def two_model(one, other):
        loc = aleator.sample("loc", dist.Normal(0.0, 5.0))
        with aleator.plate("data", 5):
            aleator.sample("x", dist.Normal(loc, 1.0), obs=one)
            aleator.sample("y", dist.Normal(loc, 2.0), obs=other)

    def two_guide(one, other):
        aleator.sample("loc", dist.Normal(aleator.param("at", torch.tensor(0.0)), 1.0))

    eager, compiled, state = pair(model=two_model, guide=two_guide, args=(DATA, DATA))
    for args in ((DATA, DATA), (DATA, DATA + 1.0)):
        assert_same(eager.update(state, args, args), compiled.update(state, args, args), rtol=0, atol=0)


def test_control_flow_on_values_runs_eager_and_says_so_once():
    def branching_model():
        z = aleator.sample("z", dist.Normal(0.0, 1.0))
        aleator.sample("x", dist.Normal(0.0 if bool(z > 0) else 3.0, 1.0), obs=torch.tensor(1.0))

    def branching_guide():
        aleator.sample("z", dist.Normal(aleator.param("at", torch.tensor(0.0)), 1.0))

    eager, compiled, state = pair(model=branching_model, guide=branching_guide, args=())
    with pytest.warns(AleatorWarning, match="runs uncompiled"):
        found = compiled.update(state)
    assert_same(found, eager.update(state), rtol=0, atol=0)
    compiled.update(state)
    assert len(compile_report(compiled).eager) == 1


def test_no_compiler_is_said_once_and_the_step_is_eager(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("ALEATOR_CACHE", str(tmp_path / "cache"))
    eager, compiled, state = pair("aot")
    with pytest.warns(AleatorWarning, match=r"no C\+\+ compiler"):
        found = compiled.update(state, (DATA,), (DATA,))
    assert_same(found, eager.update(state, (DATA,), (DATA,)), rtol=0, atol=0)
    compiled.update(state, (DATA,), (DATA,))


def test_two_models_through_one_compiled_estimator():
    """SEMANTICS 78: one estimator object, two programs, each its own code."""

    def shifted(by):
        def shifted_model():
            aleator.sample("z", dist.Normal(by, 1.0))

        return shifted_model

    def point_guide():
        aleator.sample("z", dist.Delta(aleator.param("at", torch.tensor(0.0))))

    estimator = compile(Trace_ELBO(), backend="eager")
    with aleator.ParamStore():
        for _ in range(3):
            for by in (1.0, 5.0):
                expected = Trace_ELBO().loss(shifted(by), point_guide)
                assert estimator.loss(shifted(by), point_guide) == pytest.approx(expected)


def test_stateful_svi_with_a_compiled_loss_is_the_eager_run():
    """SEMANTICS 77."""
    runs = []
    for loss in (Trace_ELBO(), compile(Trace_ELBO(), backend="eager")):
        with aleator.ParamStore() as store:
            svi = SVI(model, guide, Adam(lr=0.05), loss, rng=0, progress=False)
            losses = [svi.step(DATA) for _ in range(5)]
            runs.append((torch.tensor(losses), {name: store[name].detach() for name in sorted(store)}))
    assert_same(runs[0], runs[1])
    assert loss.report.captured == 1


def test_backend_and_target_are_checked():
    with pytest.raises(ValueError, match="backend must be one of"):
        compile(Trace_ELBO(), backend="fast")
    with pytest.raises(TypeError, match="functional SVI"):
        compile(3)


def test_cache_is_private_whole_and_bounded_to_what_it_wrote(tmp_path):
    """Catches a package loaded from a folder that others may write, and a damaged one that is loaded."""
    import zipfile

    def build(path):
        with zipfile.ZipFile(path, "w") as file:
            file.writestr("a", "b")

    cache = DiskCache(tmp_path / "steps")
    assert cache.find("one") is None
    cache.store("one", build, {"lifted": []})
    assert stat.S_IMODE(cache.folder.stat().st_mode) == 0o700
    assert cache.find("one").notes["lifted"] == []
    assert cache.names() == ["one"]
    cache.folder.chmod(0o777)
    assert cache.find("one") is None
    cache.folder.chmod(0o700)
    with open(cache.folder / "one.pt2", "ab") as file:
        file.write(b"damage")
    assert cache.find("one") is None
    assert cache.names() == []
    assert not list(cache.folder.glob(".building-*"))


def test_failed_build_leaves_nothing(tmp_path):
    def build(path):
        raise RuntimeError("killed")

    cache = DiskCache(tmp_path / "steps")
    with pytest.raises(RuntimeError, match="killed"):
        cache.store("one", build, {})
    assert not list(cache.folder.iterdir())


STRIDED = torch.stack([DATA, DATA + 1.0, DATA - 1.0], 1)[:, 1]

NEW_PROCESS = """
import sys, torch, warnings
warnings.simplefilter("error")
sys.path.insert(0, {folder!r})
import test_compiled_step as here
svi = here.functional.SVI(here.model, here.guide, here.Trace_ELBO(), here.Adam(lr=0.05))
compiled = here.compile(svi, backend="aot")
state, _ = svi.init(0, (here.STRIDED,), (here.STRIDED,))
_, loss = compiled.update(state, (here.STRIDED,), (here.STRIDED,))
report = here.compile_report(compiled)
print(report.captured, report.loaded, "torch._dynamo" in sys.modules, "torch._inductor" in sys.modules, loss.item())
"""


@pytest.mark.skipif(shutil.which("g++") is None, reason="AOTInductor needs a C++ compiler to build a package")
def test_package_is_eager_to_rounding_and_serves_the_next_process(monkeypatch, tmp_path):
    """SEMANTICS 77; the next process captures nothing and imports neither Dynamo nor Inductor."""
    monkeypatch.setenv("ALEATOR_CACHE", str(tmp_path / "cache"))
    eager, compiled, state = pair("aot", args=(STRIDED,))
    expected = eager.update(state, (STRIDED,), (STRIDED,))
    assert_same(compiled.update(state, (STRIDED,), (STRIDED,)), expected, rtol=1e-5, atol=1e-5)
    assert isinstance(compiled.step_function, CompiledStep)
    code = NEW_PROCESS.format(folder=str(__file__).rpartition("/")[0])
    done = subprocess.run([sys.executable, "-c", code], check=True, timeout=300, capture_output=True, text=True)
    captured, loaded, dynamo, inductor, loss = done.stdout.split()
    assert (captured, loaded, dynamo, inductor) == ("0", "1", "False", "False")
    assert float(loss) == pytest.approx(expected[1].item(), rel=1e-5)
