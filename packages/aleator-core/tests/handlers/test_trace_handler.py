"""`trace`: what a run leaves behind."""

import threading

import pytest
import torch
from torch.distributions import Normal

import aleator
from aleator import handlers


def two_sites(language):
    def model(loc):
        z = language.sample("z", Normal(loc, 1.0))
        language.sample("x", Normal(z, 2.0), obs=torch.tensor(1.0))
        return z

    return model


def test_sites_are_recorded_in_order_with_inputs_and_result(language):
    """SEMANTICS 74: `_INPUT` and `_RETURN` are nodes."""
    trace = language.handlers.trace(two_sites(language)).get_trace(torch.tensor(3.0))
    assert list(trace.nodes) == ["_INPUT", "z", "x", "_RETURN"]
    assert trace.nodes["_RETURN"].value is trace.nodes["z"].value
    assert [trace.nodes[name].type for name in trace.nodes] == ["args", "sample", "sample", "return"]
    assert not trace.nodes["z"].is_observed
    assert trace.nodes["x"].is_observed


def test_a_block_gives_the_trace_and_each_entry_begins_anew(language):
    tracer = language.handlers.trace()
    with tracer as first:
        language.sample("a", Normal(0.0, 1.0))
    with tracer as second:
        language.sample("a", Normal(0.0, 1.0))
    assert list(first.nodes) == list(second.nodes) == ["a"]
    assert first.nodes["a"] is not second.nodes["a"]
    assert first.nodes["a"].value != second.nodes["a"].value


def test_log_prob_sum_is_the_joint_density(language):
    trace = language.handlers.trace(two_sites(language)).get_trace(torch.tensor(3.0))
    z = trace.nodes["z"].value
    expected = -0.5 * (z - 3.0) ** 2 - 0.5 * ((1.0 - z) / 2.0) ** 2 - torch.tensor(2.0).log()
    expected = expected - torch.tensor(2 * torch.pi).log()
    torch.testing.assert_close(trace.log_prob_sum(), expected)


def test_the_density_is_computed_anew_by_whoever_asks(language):
    """SEMANTICS 74 (unlike Pyro): nothing is memoized into a site, so that a changed value changes the answer."""
    trace = language.handlers.trace(two_sites(language)).get_trace(torch.tensor(0.0))
    before = trace.log_prob_sum()
    trace.nodes["z"].value = trace.nodes["z"].value + 100.0
    assert trace.log_prob_sum() < before - 1000


def test_two_draws_of_one_name_raise(language):
    """SEMANTICS 74: a duplicate sample name raises, naming the site."""

    def model():
        language.sample("z", Normal(0.0, 1.0))
        language.sample("z", Normal(0.0, 1.0))

    with pytest.raises(ValueError, match=r"two .*sites named 'z' in one run"):
        language.handlers.trace(model).get_trace()
    language.sample("z", Normal(0.0, 1.0))  # nobody records: no clash, and the stack is clean


def test_a_parameter_may_be_read_again(language):
    """SEMANTICS 74: a repeated param is fine."""

    def model():
        return language.param("a", torch.tensor(1.0)) + language.param("a", torch.tensor(5.0))

    trace = language.handlers.trace(model).get_trace()
    assert trace.nodes["_RETURN"].value == 2.0
    assert [name for name, site in trace.nodes.items() if site.type == "param"] == ["a"]


def test_a_parameter_and_a_draw_of_one_name_raise(language):
    """SEMANTICS 74: a param-vs-sample clash raises."""

    def model():
        language.param("a", torch.tensor(1.0))
        language.sample("a", Normal(0.0, 1.0))

    with pytest.raises(ValueError, match="'a'"):
        language.handlers.trace(model).get_trace()


def test_a_trace_inside_a_trace_sees_the_same_sites(language):
    inner = language.handlers.trace(two_sites(language))
    outer = language.handlers.trace(inner).get_trace(torch.tensor(0.0))
    assert list(outer.nodes) == ["_INPUT", "z", "x", "_RETURN"]
    assert inner.trace.nodes["z"].value is outer.nodes["z"].value


# ---- the core alone: what the specification leaves out ----


def test_only_parameters():
    """Core only: `param_only`."""

    def model():
        aleator.sample("z", Normal(aleator.param("a", torch.tensor(1.0)), 1.0))

    assert list(handlers.trace(model, param_only=True).get_trace().nodes) == ["_INPUT", "a", "_RETURN"]


def test_an_error_tells_the_shapes_up_to_there():
    """Core only: the note on an exception; the exception itself is the program's own."""

    def model():
        with aleator.plate("data", 3):
            aleator.sample("z", Normal(torch.zeros(3), 1.0))
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine") as caught:
        handlers.trace(model).get_trace()
    (note,) = caught.value.__notes__
    assert "Trace Shapes:" in note
    assert "z dist" in note


def test_the_note_never_hides_the_error():
    """Core only: a site that cannot be scored must not replace the program's own exception."""

    class NoLogProb(torch.distributions.Distribution):
        arg_constraints = {}  # noqa: RUF012  # torch's protocol

        def __init__(self):
            super().__init__(validate_args=False)

        def sample(self, sample_shape=()):
            return torch.zeros(())

    def model():
        aleator.sample("odd", NoLogProb())
        aleator.sample("called", lambda: "a string")
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        handlers.trace(model).get_trace()


def test_one_traced_function_in_many_threads():
    """Core only (DESIGN 2, 6): state of a run lives with the run; one handler object serves all threads at once."""
    traced = handlers.trace(lambda k: aleator.sample(f"x{k}", Normal(float(k), 0.1)))
    barrier, found = threading.Barrier(8), {}

    def work(k):
        barrier.wait()
        for _ in range(20):
            found.setdefault(k, set()).update(traced.get_trace(k).stochastic_nodes)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {k: {f"x{k}"} for k in range(8)}


def test_a_coroutine_function_is_refused_with_the_way_out():
    """Core only: its run is over only when somebody has awaited it."""

    async def model():
        return aleator.sample("x", Normal(0.0, 1.0))

    with pytest.raises(TypeError, match=r"inside a coroutine write: with handlers\.trace\(\) as t"):
        handlers.trace(model)


def test_a_recursive_traced_function_records_each_call_by_itself():
    """Core only: entries of one handler do not meet."""
    records = []

    @handlers.trace
    def fall(depth):
        aleator.sample(f"x{depth}", Normal(0.0, 1.0))
        if depth:
            records.append(fall.get_trace(depth - 1))

    records.append(fall.get_trace(2))
    assert [record.stochastic_nodes for record in records] == [["x0"], ["x1", "x0"], ["x2", "x1", "x0"]]


def test_handlers_around_handlers_keep_their_own_function():
    """Core only: a handled function inside a handled function (its attributes must not be copied over)."""
    inner = handlers.scale(lambda: aleator.sample("x", Normal(0.0, 1.0)), scale=2.0)
    outer = handlers.mask(inner, mask=False)
    site = handlers.trace(outer).get_trace().nodes["x"]
    assert (site.scale, site.mask) == (2.0, False)
