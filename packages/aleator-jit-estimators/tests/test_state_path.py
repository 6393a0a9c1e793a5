"""A compiled functional SVI follows its own states by a short way, and never gives a result that is out of date."""

from __future__ import annotations

import shutil
import time

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator.distributions import constraints
from aleator.infer import Trace_ELBO, compile, functional
from aleator.optim import Adam
from aleator_jit_estimators import compile_report, loops
from aleator_jit_estimators.addressed import Addressed
from aleator_jit_estimators.row_path import RowPath

WIDTH = 1.0
DATA = torch.tensor([1.0, 2.5, -0.5])


def model(data):
    loc = aleator.sample("loc", dist.Normal(torch.zeros(2), WIDTH).to_event(1))
    with aleator.plate("data", data.shape[0]):
        aleator.sample("x", dist.Normal(loc.sum(), 1.0), obs=data)


def guide(data):
    loc = aleator.param("at", torch.zeros(2))
    scale = aleator.param("scale", torch.tensor(2.0), constraint=constraints.positive)
    aleator.sample("loc", dist.Normal(loc, scale).to_event(1))


def pair(model=model, guide=guide, args=(DATA,), backend="eager"):
    svi = functional.SVI(model, guide, Trace_ELBO(), Adam(lr=0.05))
    state, _ = svi.init(0, args, args)
    return svi, compile(svi, backend=backend), state


def assert_same(one, other, **tolerance):
    left, right = torch.utils._pytree.tree_leaves(one), torch.utils._pytree.tree_leaves(other)
    for a, b in zip(left, right, strict=True):
        torch.testing.assert_close(a, b, **tolerance)


def follows(compiled, state, args=(DATA,)):
    """Whether a state is taken by the short way."""
    return compiled.step_function.advance(compiled._store, state, (args, args)) is not None


@pytest.fixture
def followed():
    """Eager and compiled SVI with a state that the compiled one gave last."""
    eager, compiled, state = pair()
    args = (DATA,), (DATA,)
    for _ in range(3):
        state, _ = compiled.update(state, *args)
    return eager, compiled, state, args


def test_short_way_is_taken_and_is_the_eager_step():
    """SEMANTICS 77; bit for bit with the recorded graph, and one program for all steps."""
    eager, compiled, state = pair()
    other = state
    for at in range(6):
        state, loss = eager.update(state, (DATA,), (DATA,))
        other, found = compiled.update(other, (DATA,), (DATA,))
        assert_same((state, loss), (other, found), rtol=0, atol=0)
        assert at < 1 or compiled.step_function._path is not None
    assert compile_report(compiled).captured == 1
    assert follows(compiled, other)


def test_other_states_are_not_mistaken_for_the_last_one(followed):
    """An older state, a changed one, one with another stream: each gives what the eager step gives for it."""
    eager, compiled, state, args = followed
    newer, _ = compiled.update(state, *args)
    assert_same(compiled.update(state, *args), eager.update(state, *args), rtol=0, atol=0)
    newer, _ = compiled.update(newer, *args)
    newer.params["at"] = torch.ones(2)
    assert_same(compiled.update(newer, *args), eager.update(newer, *args), rtol=0, atol=0)
    newer, _ = compiled.update(newer, *args)
    newer.params["at"].add_(1.0)
    assert_same(compiled.update(newer, *args), eager.update(newer, *args), rtol=0, atol=0)
    newer, _ = compiled.update(newer, *args)
    newer.optim_state.learning_rates["at"].fill_(0.5)
    assert_same(compiled.update(newer, *args), eager.update(newer, *args), rtol=0, atol=0)
    elsewhere = newer._replace(rng=state.rng)
    assert_same(compiled.update(elsewhere, *args), eager.update(elsewhere, *args), rtol=0, atol=0)


def test_globals_arguments_and_switches_are_seen_on_the_short_way(followed, monkeypatch):
    """Catches a number of a global, another batch or another default dtype that a followed state does not see."""
    eager, compiled, state, args = followed
    monkeypatch.setitem(globals(), "WIDTH", 3.0)
    expected = eager.update(state, *args)
    assert_same(compiled.update(state, *args), expected, rtol=0, atol=0)
    for batch in (DATA * 2.0, DATA[:2], DATA.double()):
        state, _ = compiled.update(state, *args)
        state, _ = compiled.update(state, *args)
        assert_same(compiled.update(state, (batch,), (batch,)), eager.update(state, (batch,), (batch,)), rtol=0, atol=0)


def test_captured_tensors_are_seen_on_the_short_way():
    """In place, by ``data``, and by another tensor in the variable."""
    data = DATA.clone()

    def closed_model():
        loc = aleator.sample("loc", dist.Normal(0.0, 1.0))
        with aleator.plate("data", 3):
            aleator.sample("x", dist.Normal(loc, 1.0), obs=data)

    def closed_guide():
        aleator.sample("loc", dist.Normal(aleator.param("at", torch.tensor(0.0)), 1.0))

    eager, compiled, state = pair(closed_model, closed_guide, ())
    losses = []
    for change in ("none", "none", "in place", "data", "another"):
        if change == "in place":
            data.add_(1.0)
        elif change == "data":
            data.data = DATA * 5.0
        elif change == "another":
            data = DATA * 7.0
        expected = eager.update(state)
        assert_same(compiled.update(state), expected, rtol=0, atol=0)
        state, loss = compiled.update(expected[0])
        state, loss = compiled.update(state)
        losses.append(loss.item())
    assert len(set(losses)) == len(losses)


@pytest.mark.parametrize("steps", [1, 7, 43])
def test_several_steps_at_once_are_single_steps(monkeypatch, steps):
    """The same losses, states and streams: catches steps lost or doubled at the seams, and draws in another order."""
    monkeypatch.setattr(loops, "_WORTHWHILE", 5)
    eager, compiled, state = pair()
    args = (DATA,), (DATA,)
    ours, found = compiled.run(state, steps, *args)
    again, more = compiled.run(ours, steps, *args)
    plain, losses = eager.run(state, 2 * steps, *args)
    assert_same(torch.cat([found, more]), losses, rtol=1e-6, atol=1e-6)
    assert_same(again, plain, rtol=1e-6, atol=1e-6)
    loop = compiled.step_function._path._loop
    assert (loop.program is not None) == (steps > 2)
    assert loop.steps > 1 or steps < 3
    ours, _ = compiled.update(again, *args)
    assert_same(ours, eager.update(again, *args)[0], rtol=1e-6, atol=1e-6)


def test_draws_that_depend_on_values_take_the_short_way_too():
    """Such a step draws from the process's generator, which is put back."""

    def gamma_model():
        aleator.sample("z", dist.Gamma(torch.tensor(2.0), torch.tensor(1.0)))

    def gamma_guide():
        shape = aleator.param("shape", torch.tensor(2.0), constraint=constraints.positive)
        aleator.sample("z", dist.Gamma(shape, torch.tensor(1.0)))

    eager, compiled, state = pair(gamma_model, gamma_guide, ())
    before = torch.get_rng_state()
    other = state
    for _ in range(4):
        state, loss = eager.update(state)
        other, found = compiled.update(other)
        assert_same((state, loss), (other, found), rtol=0, atol=0)
    assert follows(compiled, other, ())
    assert_same(compiled.run(other, 5), eager.run(other, 5), rtol=0, atol=0)
    assert torch.equal(before, torch.get_rng_state())


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="AOTInductor needs a C++ compiler to build a package")
def test_loop_is_built_in_the_background_and_is_eager_to_rounding(monkeypatch, tmp_path):
    monkeypatch.setenv("ALEATOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(loops, "_WORTHWHILE", 10)
    eager, compiled, state = pair(backend="aot")
    args = (DATA,), (DATA,)
    compiled.run(state, 20, *args)
    end = time.monotonic() + 300
    while compile_report(compiled).waiting and time.monotonic() < end:
        time.sleep(1.0)
        compiled.run(compiled.update(state, *args)[0], 20, *args)
    assert_same(compiled.run(compiled.update(state, *args)[0], 45, *args)[1], eager.run(state, 46, *args)[1][1:],
                rtol=1e-4, atol=1e-4)  # fmt: skip  # two lines, not five
    assert compiled.step_function._path._loop.program is not None
    assert compile_report(compiled).built == 2


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("g++") is None, reason="AOTInductor needs a C++ compiler to build a package")
def test_what_packages_gave_stays_what_it_was(monkeypatch, tmp_path):
    """Catches outputs that lie where a later call writes, for packages of one step and of several."""
    monkeypatch.setenv("ALEATOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(loops, "_WORTHWHILE", 10)
    eager, compiled, first = pair(backend="aot")
    args = (DATA,), (DATA,)
    state, other, expected, found = first, first, [], []
    for _ in range(150):
        state, loss = eager.update(state, *args)
        expected.append((state, loss))
        other, loss = compiled.update(other, *args)
        found.append((other, loss))
    assert isinstance(compiled.step_function._path, RowPath)
    for at in (0, 1, 62, 63, 64, 65, 149, 2):
        assert_same(found[at], expected[at], rtol=1e-4, atol=1e-4)
    end = time.monotonic() + 300
    compiled.run(first, 20, *args)
    while compile_report(compiled).waiting and time.monotonic() < end:
        time.sleep(1.0)
        compiled.run(first, 20, *args)
    runs = [compiled.run(first, steps, *args) for steps in (35, 150, 80, 149)]
    for after, losses in runs:
        steps = len(losses)
        assert_same(after, expected[steps - 1][0], rtol=1e-4, atol=1e-4)
        assert_same(losses, torch.stack([loss for _, loss in expected[:steps]]), rtol=1e-4, atol=1e-4)
    assert_same([loss for _, loss in found], [loss for _, loss in expected], rtol=1e-4, atol=1e-4)
    assert isinstance(compiled.step_function._path._loop.program.run, Addressed)
