"""Turns of loops, and what an error leaves of them."""

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator import handlers
from aleator.loops import LoopTurn, turns
from aleator.runtime import RUN, STACK


class Turn(LoopTurn):
    def process_sample(self, site):
        site.infer["obs"] = "in a turn"


def loop(count):
    return turns((Turn(), index) for index in range(count))


def test_a_turn_lasts_as_long_as_the_body():
    depths = []
    for _ in loop(3):
        depths.append(len(STACK.get()))
    assert depths == [1, 1, 1]
    assert STACK.get() == ()


def test_a_turn_opens_no_run():
    for _ in loop(1):
        assert RUN.get() is None


def test_break_and_return_end_the_turn():
    def returns():
        for _ in loop(3):
            return len(STACK.get())

    assert returns() == 1
    for _ in loop(3):
        break
    assert STACK.get() == ()


def test_loops_side_by_side():
    """`zip` takes turns of two loops; both are around the body."""
    for _ in zip(loop(2), loop(2), strict=True):
        assert len(STACK.get()) == 2
    assert STACK.get() == ()


def through_a_generator(items):
    yield from items


def test_a_progress_bar_between_the_loop_and_its_turns():
    """The loop belongs to the nearest function that is no generator: the turn is not taken for an abandoned one."""
    for _ in through_a_generator(loop(2)):
        with handlers.trace() as trace:
            aleator.sample("x", dist.Normal(0.0, 1.0))
        assert trace.nodes["x"].infer == {"obs": "in a turn"}


def holds_the_loop(fail):
    """An error keeps the comprehension's frame, and with it the loop, alive."""
    return [fail() for _ in loop(3)]


def fail():
    raise KeyError("mine")


def test_an_abandoned_turn_is_cleared_by_the_handler_around_it():
    """SEMANTICS 76: also while the traceback lives."""
    with pytest.raises(KeyError) as kept, handlers.trace():
        holds_the_loop(fail)
    assert (STACK.get(), RUN.get()) == ((), None)
    assert kept.tb is not None


def test_an_abandoned_turn_without_handlers_is_cleared_by_the_next_one():
    """SEMANTICS 76: no site under a later handler has anything of it."""
    items = loop(3)
    with pytest.raises(KeyError) as kept:
        leaves_behind(items)
    with handlers.trace() as trace:
        aleator.sample("x", dist.Normal(0.0, 1.0))
    assert trace.nodes["x"].infer == {}
    assert STACK.get() == ()
    assert kept.tb is not None
    items.close()
    assert STACK.get() == ()


def leaves_behind(items):
    for _ in items:
        raise KeyError("mine")


def test_a_plate_left_behind_does_not_block_its_name():
    """SEMANTICS 76: the next plate of that name, as a loop or as a block, knows nothing of the abandoned one."""
    loop_left = iter(aleator.plate("data", 3))
    with pytest.raises(KeyError) as kept:
        leaves_behind(loop_left)
    with aleator.plate("data", 2):
        assert aleator.sample("x", dist.Normal(0.0, 1.0)).shape == (2,)
    assert [i for i in aleator.plate("data", 2)] == [0, 1]
    assert kept.tb is not None


def test_generators_that_are_closed_late_take_nothing_else_along():
    items = iter(aleator.plate("loop", 3))
    with pytest.raises(KeyError):
        leaves_behind(items)
    with handlers.trace() as trace:
        aleator.sample("before", dist.Normal(0.0, 1.0))
        items.close()
        aleator.sample("after", dist.Normal(0.0, 1.0))
    assert trace.stochastic_nodes == ["before", "after"]


def test_a_step_entered_by_hand_is_never_taken_for_abandoned():
    """Unlike a loop, a `with` block always ends."""
    chain = aleator.markov()
    with chain, handlers.trace() as trace:
        aleator.sample("x", dist.Normal(torch.tensor(0.0), 1.0))
    assert trace.nodes["x"].markov_frames
