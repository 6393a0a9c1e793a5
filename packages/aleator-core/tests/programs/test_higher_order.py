"""Functions that make, take and return stochastic functions; choices that chance makes."""

import functools

import torch

import aleator
import aleator.distributions as dist
from aleator import handlers


def test_a_memoized_stochastic_function():
    """A function drawn lazily: the same argument gives the same value within a run, another one in the next."""

    def model():
        @functools.cache
        def height(person):
            return aleator.sample(f"height_{person}", dist.Normal(170.0, 10.0))

        return height("ada"), height("bob"), height("ada")

    trace = handlers.trace(model).get_trace()
    first, second, again = trace.nodes["_RETURN"].value
    assert first is again
    assert first != second
    assert trace.stochastic_nodes == ["height_ada", "height_bob"]
    assert handlers.trace(model).get_trace().nodes["height_ada"].value != first


def test_a_program_that_makes_programs():
    def family(name):
        shift = aleator.sample(f"{name}_shift", dist.Normal(0.0, 1.0))

        def member(k):
            return shift + aleator.sample(f"{name}_{k}", dist.Normal(0.0, 0.1))

        return member

    def model():
        left, right = family("left"), family("right")
        return left(0) + right(0) + left(1)

    trace = handlers.trace(model).get_trace()
    assert trace.stochastic_nodes == ["left_shift", "right_shift", "left_0", "right_0", "left_1"]
    values = {name: trace.nodes[name].value for name in trace.stochastic_nodes}
    total = 2 * values["left_shift"] + values["right_shift"] + values["left_0"] + values["left_1"] + values["right_0"]
    torch.testing.assert_close(trace.nodes["_RETURN"].value, total)


def test_programs_as_arguments_under_handlers_of_their_own():
    def twice(program):
        return handlers.scope(program, prefix="a")() + handlers.scope(handlers.mask(program, mask=False), prefix="b")()

    def part():
        return aleator.sample("x", dist.Normal(0.0, 1.0))

    trace = handlers.trace(twice).get_trace(part)
    assert trace.nodes["a/x"].mask is None
    assert trace.nodes["b/x"].mask is False


def mixture():
    """Which sites there are, of which type and shape, is drawn."""
    branch = aleator.sample("branch", dist.Categorical(torch.tensor([0.25, 0.25, 0.5])))
    if branch == 0:
        return aleator.sample("scalar", dist.Normal(0.0, 1.0))
    if branch == 1:
        with aleator.plate("some", int(aleator.sample("count", dist.Poisson(3.0))) + 1):
            return aleator.sample("vector", dist.Normal(0.0, 1.0)).sum()
    total = torch.tensor(0.0)
    while aleator.sample(f"more_{int(total)}", dist.Bernoulli(0.5)) == 1:
        total = total + 1
    return total


def test_random_control_flow():
    """Would catch a site that leaks from one run into another: runs of all branches, interleaved and replayed."""
    seen = set()
    for _ in range(60):
        trace = handlers.trace(mixture).get_trace()
        branch = int(trace.nodes["branch"].value)
        assert ("scalar" in trace) is (branch == 0)
        assert ("some" in trace) is (branch == 1)
        assert ("more_0" in trace) is (branch == 2)
        again = handlers.trace(handlers.replay(mixture, trace=trace)).get_trace()
        assert list(again.nodes) == list(trace.nodes)
        torch.testing.assert_close(again.log_prob_sum(), trace.log_prob_sum())
        seen.add(branch)
    assert seen == {0, 1, 2}


def test_a_parameter_that_first_appears_in_a_later_run():
    """Issue 3: parameters that first appear in a later step."""
    store = aleator.get_param_store()
    calls = []

    def init():
        calls.append(1)
        return torch.tensor(3.0)

    def program(step):
        early = aleator.param("early", torch.tensor(1.0))
        return early + aleator.param("late", init) if step >= 2 else early

    names = []
    for step in range(4):
        trace = handlers.trace(program).get_trace(step)
        names.append((trace.param_nodes, set(store.keys())))
    assert names[:2] == [(["early"], {"early"})] * 2
    assert names[2:] == [(["early", "late"], {"early", "late"})] * 2
    assert calls == [1]


def test_a_loop_over_data_with_a_draw_that_ends_it():
    def model(data):
        for i in aleator.plate("data", len(data)):
            loc = aleator.sample(f"z_{i}", dist.Normal(0.0, 1.0))
            aleator.sample(f"x_{i}", dist.Normal(loc, 1.0), obs=data[i])
            if loc > 1.0:
                return i
        return None

    for _ in range(20):
        trace = handlers.trace(model).get_trace(torch.zeros(6))
        last = trace.nodes["_RETURN"].value
        assert len(trace.observation_nodes) == (6 if last is None else last + 1)
        with handlers.trace() as after:
            aleator.sample("after", dist.Normal(0.0, 1.0))
        assert after.nodes["after"].frames == ()
