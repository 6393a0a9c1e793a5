"""Markov chains: which earlier sites a site may depend on."""

import threading

import pytest

import aleator
import aleator.distributions as dist
from aleator import handlers
from aleator.markov import MarkovFrame, is_visible, markov
from aleator.runtime import RUN, STACK


def draw(name):
    return aleator.sample(name, dist.Normal(0.0, 1.0))


def seen_from(program, name):
    """The names of the earlier sites that a site may depend on."""
    nodes = handlers.trace(program).get_trace().nodes
    sites = [site for site in nodes.values() if site.type == "sample"]
    (site,) = [site for site in sites if site.name == name]
    return {earlier.name for earlier in sites[: sites.index(site)] if is_visible(earlier, site)}


def as_loop(history, length):
    for t in markov(range(length), history=history):
        draw(f"x{t}")


def as_nested_blocks(history, length):
    chain = markov(history=history)

    def step(t):
        if t < length:
            with chain:
                draw(f"x{t}")
                step(t + 1)

    step(0)


def as_blocks_in_a_row(history, length):
    chain = markov(history=history)
    for t in range(length):
        with chain:
            draw(f"x{t}")


def as_recursive_function(history, length):
    def step(t):
        draw(f"x{t}")
        if t + 1 < length:
            step(t + 1)

    step = markov(step, history=history)
    step(0)


def as_function_called_in_a_row(history, length):
    step = markov(draw, history=history)
    for t in range(length):
        step(f"x{t}")


FORMS = [as_loop, as_nested_blocks, as_blocks_in_a_row, as_recursive_function, as_function_called_in_a_row]


@pytest.mark.parametrize("history", [0, 1, 2, 3])
@pytest.mark.parametrize("form", FORMS)
def test_the_previous_steps_are_visible_in_every_form(form, history):
    """SEMANTICS 37: sites of the previous `history` contexts; 0 is plate-like; all forms agree."""
    for t in range(5):
        seen = seen_from(lambda: form(history, 5), f"x{t}")
        assert seen == {f"x{earlier}" for earlier in range(max(0, t - history), t)}


def test_sites_of_one_step_see_each_other_and_what_is_outside():
    """SEMANTICS 37."""

    def model():
        draw("before")
        for t in markov(range(3), history=1):
            draw(f"x{t}")
            draw(f"y{t}")
        draw("after")

    assert seen_from(model, "y2") == {"before", "x1", "y1", "x2"}
    assert seen_from(model, "after") == {"before"}


def test_contexts_nest_and_all_of_them_must_be_live():
    """SEMANTICS 37."""

    def model():
        for i in markov(range(3), history=1):
            for j in markov(range(3), history=1):
                draw(f"x{i}{j}")

    assert seen_from(model, "x11") == {"x10"}
    assert seen_from(model, "x12") == {"x11"}

    def columns():
        inner = markov(history=1)
        for i in markov(range(3), history=1):
            for j in range(2):
                with inner:
                    draw(f"x{i}{j}")

    assert seen_from(columns, "x10") == {"x01"}
    assert seen_from(columns, "x20") == {"x11"}


def branches(keep, history=1):
    """A root with two branches of two steps each."""

    @markov(history=history, keep=keep)
    def step(name, depth):
        draw(name)
        if depth:
            for child in "ab":
                step(name + child, depth - 1)

    step("r", 2)


def test_branches_see_their_ancestors_and_not_each_other():
    """SEMANTICS 37: without `keep` sibling branches are independent given what they share."""
    assert seen_from(lambda: branches(False), "rb") == {"r"}
    assert seen_from(lambda: branches(False), "rba") == {"rb"}
    assert seen_from(lambda: branches(False), "rbb") == {"rb"}
    assert seen_from(lambda: branches(False, history=2), "rbb") == {"rb", "r"}


def test_kept_branches_see_each_other():
    """SEMANTICS 37: `keep=True` lets sibling branches see each other, as far back as `history` goes."""
    assert seen_from(lambda: branches(True), "rb") == {"r", "ra"}
    assert seen_from(lambda: branches(True), "rbb") == {"ra", "raa", "rab", "rb", "rba"}
    assert seen_from(lambda: branches(True, history=0), "rb") == {"ra"}


def test_each_run_begins_anew():
    """State of a run lives with the run: a decorated function at module level remembers nothing."""
    steps = []
    step = markov(draw)

    def model():
        for t in range(2):
            step(f"x{t}")

    for _ in range(3):
        nodes = handlers.trace(model).get_trace().nodes
        steps.append([nodes[f"x{t}"].markov_frames[0].step for t in range(2)])
    assert steps == [[0, 1]] * 3


def test_threads_do_not_meet_in_a_shared_function():
    """DESIGN 2, 6."""
    step = markov(draw)
    barrier, paths = threading.Barrier(4), []

    def work():
        barrier.wait()
        for _ in range(20):
            with handlers.trace() as trace:
                for t in range(4):
                    step(f"x{t}")
            paths.append([trace.nodes[f"x{t}"].markov_frames[0].path for t in range(4)])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert paths == [[(0,), (0, 1), (1, 2), (2, 3)]] * 80


def test_frames_are_outermost_first():
    with handlers.trace() as trace:
        for _ in markov(range(1), history=2):
            for _ in markov(range(1), history=0):
                draw("x")
    assert [frame.history for frame in trace.nodes["x"].markov_frames] == [2, 0]
    assert trace.nodes["x"].markov_frames[0] == MarkovFrame(trace.nodes["x"].markov_frames[0].chain, 0, 2, False, (0,))


def test_a_site_outside_has_no_frames():
    with handlers.trace() as trace:
        draw("x")
    assert trace.nodes["x"].markov_frames == ()
    assert trace.nodes["x"]._stash is None


def test_the_loop_gives_the_items_and_takes_any_iterable():
    assert list(markov(iter("abc"))) == ["a", "b", "c"]
    assert list(markov([])) == []


@pytest.mark.parametrize("history", [-1, 1.5, True, None])
def test_history_is_a_count(history):
    with pytest.raises(ValueError, match="markov: history must be 0 or a positive int"):
        markov(range(3), history=history)


def test_what_is_neither_iterable_nor_function():
    with pytest.raises(TypeError, match="markov expects an iterable or a function, but found int"):
        markov(3)


@pytest.mark.parametrize("form", FORMS)
def test_an_error_in_a_step_leaves_everything_clean(form, monkeypatch):
    """SEMANTICS 76."""

    class Fail(handlers.Messenger):
        def process_sample(self, site):
            if site.name == "x2":
                raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"), handlers.trace(), Fail():
        form(1, 5)
    assert (STACK.get(), RUN.get()) == ((), None)


def test_plates_inside_and_outside():
    """SEMANTICS 31: plate inside markov, markov inside plate; frames of both kinds are kept apart."""
    with handlers.trace() as trace, aleator.plate("data", 3):
        for t in markov(range(2)):
            with aleator.plate(f"inner_{t}", 2):
                draw(f"x{t}")
    site = trace.nodes["x1"]
    assert site.value.shape == (2, 3)
    assert [frame.name for frame in site.frames] == ["data", "inner_1"]
    assert len(site.markov_frames) == 1


def test_it_is_the_handler_too():
    assert handlers.markov is aleator.markov is markov
