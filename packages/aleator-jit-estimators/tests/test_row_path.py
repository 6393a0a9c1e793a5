"""States as rows of bytes: all that holds for tensors holds by address, at the seams of rows and draws too.

Nothing is built here: a stand-in reads what lies at the addresses and runs the recorded graph on it.
"""

from __future__ import annotations

import ctypes
import pickle
import threading

import pytest
import torch
from torch.utils._pytree import tree_flatten, tree_map

import aleator
import aleator.distributions as dist
import test_state_path as paths
from aleator_jit_estimators import addressed, making, row_path
from aleator_jit_estimators.addressed import Addressed
from aleator_jit_estimators.row_path import RowPath
from test_state_path import (
    test_captured_tensors_are_seen_on_the_short_way,
    test_globals_arguments_and_switches_are_seen_on_the_short_way,
    test_other_states_are_not_mistaken_for_the_last_one,
    test_several_steps_at_once_are_single_steps,
    test_short_way_is_taken_and_is_the_eager_step,
)

__all__ = [
    "test_captured_tensors_are_seen_on_the_short_way",
    "test_globals_arguments_and_switches_are_seen_on_the_short_way",
    "test_other_states_are_not_mistaken_for_the_last_one",
    "test_several_steps_at_once_are_single_steps",
    "test_short_way_is_taken_and_is_the_eager_step",
]

followed = paths.followed
DTYPES = {code: dtype for dtype, code in addressed._CODES.items()}
ARGS = (paths.DATA,), (paths.DATA,)


def at_address(words):
    """Return the tensor that a descriptor describes, in its own memory."""
    dims, dtype = words[18] & 0xFFFFFFFF, DTYPES[words[18] >> 32]
    shape, strides = words[2 : 2 + dims], words[10 : 10 + dims]
    extent = 1 + sum((size - 1) * stride for size, stride in zip(shape, strides, strict=True))
    memory = (ctypes.c_char * (extent * dtype.itemsize)).from_address(words[0])
    return torch.frombuffer(memory, dtype=dtype).as_strided(shape, strides)


class Interpreted(Addressed):
    """Runs a graph on what lies at the addresses."""

    def __init__(self, recorded):
        self.form = recorded.form
        self.calls = 0
        self._model = ctypes.c_void_p()
        self._template = addressed._descriptors(recorded.form)
        self._graph = addressed.addressed(recorded.graph, recorded.form, recorded.inputs)[0]

    def _call(self, model, number, where, outputs, nothing):
        words = (ctypes.c_int64 * (24 * number)).from_address(where)
        self.calls += 1
        with torch.no_grad():
            self._graph(*(at_address(words[24 * at : 24 * at + 24]) for at in range(number)))
        return 0


@pytest.fixture(autouse=True)
def by_address(monkeypatch):
    def of(recorded, run):
        run = run if recorded.form is None else Interpreted(recorded)
        return making.Program(run, recorded.lifted, recorded.structure, recorded.noise)

    monkeypatch.setattr(making.Program, "of", staticmethod(of))
    monkeypatch.setattr(row_path, "_MOST_ROWS", 4)


def test_old_states_and_losses_stay_what_they_were():
    """Catches rows, draws or losses that later steps overwrite: over several seams, states are read long after."""
    eager, compiled, state = paths.pair()
    other, expected, found = state, [], []
    for _ in range(23):
        state, loss = eager.update(state, *ARGS)
        expected.append((state, loss))
        other, loss = compiled.update(other, *ARGS)
        found.append((other, loss))
    assert isinstance(compiled.step_function._path, RowPath)
    for pair in reversed(list(zip(found, expected, strict=True))):
        paths.assert_same(*pair, rtol=0, atol=0)
    again, _ = compiled.run(found[2][0], 9, *ARGS)
    paths.assert_same(again, expected[11][0], rtol=1e-6, atol=1e-6)
    paths.assert_same(found[-1], expected[-1], rtol=0, atol=0)


def test_a_step_from_its_own_state_makes_no_tensor_of_it(monkeypatch):
    """Counts what is joined to rows and taken apart: once at the start of a path, never while states are handed on."""
    _, compiled, state = paths.pair()
    counts = {"joined": 0, "apart": 0}
    for name in counts:
        original = getattr(addressed.Layout, name)

        def counted(*args, _name=name, _original=original):
            counts[_name] += 1
            return _original(*args)

        monkeypatch.setattr(addressed.Layout, name, counted)
    for _ in range(3):
        state, _ = compiled.update(state, *ARGS)
    before = dict(counts)
    for _ in range(11):
        state, _ = compiled.update(state, *ARGS)
    assert counts == before
    state.params["at"].add_(1.0)
    assert counts["apart"] == before["apart"] + 1
    state, _ = compiled.update(state, *ARGS)
    assert counts["joined"] == before["joined"] + 1


def test_unread_states_are_the_named_tuple_that_they_stand_for():
    """The same pytree, pickle, copy, repr, items and equality as a state that was never kept otherwise."""
    eager, compiled, state = paths.pair()
    other = state
    for _ in range(3):
        state, _ = eager.update(state, *ARGS)
        other, _ = compiled.update(other, *ARGS)
    unread = []
    for _ in range(12):
        newer, _ = compiled.update(other, *ARGS)
        unread.append(newer)
    expected, _ = eager.update(state, *ARGS)
    assert isinstance(unread[0], tuple)
    assert tree_flatten(unread[0])[1] == tree_flatten(expected)[1]
    paths.assert_same(pickle.loads(pickle.dumps(unread[1])), expected, rtol=0, atol=0)
    paths.assert_same(tree_map(torch.clone, unread[2]), expected, rtol=0, atol=0)
    assert repr(unread[3]) == repr(expected)
    params, _, buffers, rng = unread[4]
    assert params is unread[4].params
    assert buffers == {}
    assert torch.equal(rng["cpu"], expected.rng["cpu"])
    assert unread[5][0].keys() == expected.params.keys()
    assert len(unread[6]) == 4
    assert unread[7][1:3][0].slots.keys() == expected.optim_state.slots.keys()
    assert unread[8] == unread[8]
    assert type(unread[9]._replace(rng={})) is type(expected)
    assert unread[10]._asdict().keys() == expected._asdict().keys()
    paths.assert_same(compiled.get_params(unread[11]), eager.get_params(expected), rtol=0, atol=0)


def test_losses_do_not_share_what_is_done_to_them():
    """Catches losses that are views of one tensor for autograd."""
    _, compiled, state = paths.pair()
    losses = []
    for _ in range(4):
        state, loss = compiled.update(state, *ARGS)
        losses.append(loss)
    values = [loss.item() for loss in losses]
    factor = torch.ones((), requires_grad=True)
    product = factor * losses[2]
    losses[1].zero_()
    product.backward()
    assert factor.grad.item() == values[2]
    assert [loss.item() for loss in losses] == [values[0], 0.0, values[2], values[3]]


def test_a_second_thread_is_declined_and_disturbs_nothing():
    """Two runs of one compiled SVI, step by step: each is the eager run."""
    eager, compiled, state = paths.pair()
    expected, _ = eager.run(state, 12, *ARGS)
    found = {}

    def train(name):
        own = state
        for _ in range(12):
            own, _ = compiled.update(own, *ARGS)
        found[name] = own

    threads = [threading.Thread(target=train, args=(name,)) for name in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for own in found.values():
        paths.assert_same(own, expected, rtol=0, atol=0)


def test_an_interrupted_step_can_be_taken_again(monkeypatch):
    """Catches draws that are lost or doubled where a step, or the drawing for several, does not come to its end."""
    eager, compiled, state = paths.pair()
    other = state
    for at in range(14):
        expected, _ = eager.update(state, *ARGS)
        path = compiled.step_function._path
        if isinstance(path, RowPath):
            for name in ("_begin_rows", "_items"):
                assert callable(getattr(path, name))
            with monkeypatch.context() as patch:
                patch.setattr(addressed.Caller, "step", interrupted)
                with pytest.raises(KeyboardInterrupt):
                    compiled.update(other, *ARGS)
        other, _ = compiled.update(other, *ARGS)
        state = expected
        if at % 3 == 0:
            paths.assert_same(other, state, rtol=0, atol=0)
    paths.assert_same(other, state, rtol=0, atol=0)


def interrupted(*_):
    raise KeyboardInterrupt


def test_arguments_that_an_address_does_not_describe_are_taken_apart():
    """A view whose minus sign is only noted has the right numbers nowhere in memory."""

    def model(x):
        loc = aleator.sample("loc", dist.Normal(0.0, 1.0))
        aleator.sample("x", dist.Normal(loc, 1.0), obs=x)

    def guide(x):
        aleator.sample("loc", dist.Normal(aleator.param("at", torch.tensor(0.0)), 1.0))

    plain = torch.tensor(-2.0)
    eager, compiled, state = paths.pair(model, guide, (plain,))
    other = state
    for x in (plain, plain, plain, torch._neg_view(torch.tensor(2.0)), torch._neg_view(torch.tensor(2.0)), plain):
        state, loss = eager.update(state, (x,), (x,))
        other, found = compiled.update(other, (x,), (x,))
        paths.assert_same((other, found), (state, loss), rtol=0, atol=0)


def test_forms_are_for_states_whose_code_stands_alone():
    """No state, a large one, an operator of torch's own, a write to an input and foreign draws have no form."""

    def form(function, *inputs):
        return making.capture(function, inputs, (), maps_states=True).form

    one, draws = torch.ones(3), lambda: torch.randn(3)
    assert form(lambda x: (x + draws(), x.sum()), one) is not None
    assert form(lambda x: (x[:2] + draws()[:2], x.sum()), one) is None
    assert form(lambda x: (x + draws(), x.sum()), torch.ones(3, 2).t()[:2]) is None
    assert form(lambda x: (x + torch.randn(30_000), x.sum()), torch.ones(30_000)) is None
    assert form(lambda x: (x @ x + torch.randn(3, 3), x.sum()), torch.ones(3, 3)) is None
    assert form(lambda x, y: (x + draws() + y.add_(1.0), x.sum()), one, torch.ones(3)) is None
    assert form(lambda x: (torch.poisson(x), x.sum()), one) is None
    assert form(lambda x, b: (x + b.logical_and_(x > 0).sum(), x.sum()), one, torch.ones(3).bool()) is None
    assert form(lambda x: (x + (x > 0).logical_and_(x < 2), x.sum()), one) is not None
    assert form(lambda x: (x * 2.0, x.sum()), one) is not None


def test_a_program_that_draws_nothing_goes_by_address_and_leaves_the_stream_alone():
    """Catches addresses of draws that are not there, over the seams of rows and in several steps at once."""

    def certain(data):
        at = aleator.param("at", torch.tensor([0.5, -1.0])).clamp(min=-0.9)  # whose derivative writes to its own
        aleator.sample("x", dist.Normal(at.sum() * data, 1.0).to_event(1), obs=torch.ones(3))

    eager, compiled, state = paths.pair(certain, lambda data: None)
    other, stream = state, state.rng["cpu"].clone()
    for _ in range(11):
        state, loss = eager.update(state, *ARGS)
        other, found = compiled.update(other, *ARGS)
        paths.assert_same((other, found), (state, loss), rtol=0, atol=0)
    assert isinstance(compiled.step_function._path, RowPath)
    state, losses = eager.run(state, 9, *ARGS)
    other, found = compiled.run(other, 9, *ARGS)
    paths.assert_same((other, found), (state, losses), rtol=1e-6, atol=1e-6)
    assert torch.equal(other.rng["cpu"], stream)


def test_rows_hold_states_of_several_dtypes():
    leaves = [torch.randn(3), torch.tensor(0.5, dtype=torch.float64), torch.tensor(7), torch.randn(2, 2)]
    layout = addressed.Layout.of(leaves)
    assert layout is not None
    row = layout.joined(leaves)
    assert len(layout.vectors) == 3
    assert layout.size % 64 == 0
    for before, after in zip(leaves, layout.apart(row), strict=True):
        assert torch.equal(before, after)
        assert before.dtype is after.dtype
        assert after.untyped_storage().data_ptr() != row.untyped_storage().data_ptr()
