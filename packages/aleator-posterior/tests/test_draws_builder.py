import gc
import math
import weakref

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator import handlers
from aleator_posterior import Draws, DrawsBuilder


def traces_of(model, count, seed=0):
    with aleator.rng(seed):
        return [handlers.trace(model).get_trace() for _ in range(count)]


def gather(traces, **options):
    builder = DrawsBuilder(**options)
    for trace in traces:
        builder.append(trace)
    return builder.build()


DATA = torch.tensor([1.0, -2.0, 0.5])


def regression():
    z = aleator.sample("z", dist.Normal(0.0, 1.0))
    with aleator.plate("data", 3):
        aleator.sample("x", dist.Normal(z, 2.0), obs=DATA)
    aleator.deterministic("square", z * z)
    aleator.factor("penalty", -z)
    return z + 1


def test_columns_hold_what_the_traces_had():
    traces = traces_of(regression, 5)
    draws = gather(traces)
    assert list(draws.values) == ["z", "x", "square", "_RETURN"]
    for name in draws.values:
        assert torch.equal(draws.values[name], torch.stack([trace.nodes[name].value for trace in traces]))
    assert draws.names("observed") == ["x"]
    assert draws.names("deterministic") == ["square"]
    assert draws.dims["x"] == ("data",)
    assert draws.subsamples["data"].tolist() == [[0, 1, 2]] * 5


def test_log_likelihoods_are_those_of_the_closed_form():
    draws = gather(traces_of(regression, 4))
    z = draws.values["z"].unsqueeze(-1)
    expected = -((DATA - z) ** 2) / 8 - math.log(2 * math.sqrt(2 * math.pi))
    assert list(draws.log_likelihoods) == ["x"]
    torch.testing.assert_close(draws.log_likelihoods["x"], expected)
    assert len(gather(traces_of(regression, 2), log_likelihoods=False).log_likelihoods) == 0


def test_log_likelihoods_honour_masks_and_ignore_scales():
    def model():
        with aleator.plate("data", 6, subsample=[0, 1, 2]), handlers.scale(scale=7.0):
            with handlers.mask(mask=torch.tensor([True, False, True])):
                aleator.sample("x", dist.Normal(0.0, 1.0), obs=DATA)

    row = gather(traces_of(model, 1)).log_likelihoods["x"][0]
    half_log = math.log(math.sqrt(2 * math.pi))
    assert row.tolist() == pytest.approx([-0.5 - half_log, 0.0, -0.125 - half_log])


def test_data_are_kept_once_however_many_draws():
    big = torch.zeros(1000)

    def model():
        with aleator.plate("data", 500):
            aleator.sample("x", dist.Normal(0.0, 1.0), obs=big[::2])  # a new view at each run

    draws = gather(traces_of(model, 20), log_likelihoods=False)
    assert draws.values["x"].shape == (20, 500)
    assert draws.values["x"].untyped_storage().nbytes() == 500 * 4
    joined = Draws.concatenate([draws[:10], draws[10:]])
    assert joined.values["x"].data_ptr() == draws.values["x"].data_ptr()


def test_data_written_into_between_draws_are_kept_as_they_were():
    data = torch.zeros(2)

    def model():
        with aleator.plate("data", 2):
            aleator.sample("x", dist.Normal(0.0, 1.0), obs=data)

    builder = DrawsBuilder()
    for step in range(3):
        data.fill_(float(step))
        builder.append(handlers.trace(model).get_trace())
    data.fill_(99.0)
    assert builder.build().values["x"].tolist() == [[0.0, 0.0], [1.0, 1.0], [2.0, 2.0]]


def test_a_buffer_that_every_run_writes_into_is_kept_as_each_run_left_it():
    buffer = torch.zeros(2)

    def model():
        aleator.deterministic("count", buffer.add_(1.0))
        return buffer

    builder = DrawsBuilder()
    for _ in range(3):
        builder.append(handlers.trace(model).get_trace())
    draws = builder.build()
    assert draws.values["count"].tolist() == [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]
    assert draws.values["_RETURN"].tolist() == [[1.0, 1.0], [2.0, 2.0], [3.0, 3.0]]


def test_draws_that_are_a_parameter_itself_are_copied():
    with aleator.ParamStore() as store:

        def guide():
            loc = aleator.param("loc", torch.tensor(1.0))
            return aleator.sample("z", dist.Delta(loc))

        for count in (1, 3):
            store.clear()
            draws = gather(traces_of(guide, count))
            with torch.no_grad():
                dict(store.named_parameters())["loc"].fill_(7.0)
            assert draws.values["z"].tolist() == [1.0] * count
            assert draws.values["_RETURN"].tolist() == [1.0] * count


def test_nothing_of_the_autograd_graph_is_kept():
    contexts = []

    class Step(torch.autograd.Function):
        """Its context lives as long as the graph."""

        @staticmethod
        def forward(ctx, value):
            contexts.append(weakref.ref(ctx))
            return value * 1.0

        @staticmethod
        def backward(ctx, grad):
            return grad

    leaf = torch.tensor(0.5, requires_grad=True)

    def model():
        loc = Step.apply(leaf)
        z = aleator.sample("z", dist.Normal(loc, 1.0))
        aleator.sample("x", dist.Normal(z, 1.0), obs=torch.tensor(0.0))
        aleator.deterministic("twice", 2 * z)
        return z

    builder = DrawsBuilder()
    trace = handlers.trace(model).get_trace()
    builder.append(trace, trace.log_prob_sum())
    gc.collect()
    assert contexts[0]() is not None, "the trace holds its graph, or this test would see nothing"
    del trace
    gc.collect()
    assert contexts[0]() is None
    draws = builder.build()
    for table in (draws.values, draws.log_likelihoods):
        assert not any(table[name].requires_grad for name in table)
    assert not draws.log_weights.requires_grad


def test_parameters_are_not_kept():
    with aleator.ParamStore():

        def model():
            return aleator.sample("z", dist.Normal(aleator.param("loc", torch.tensor(0.0)), 1.0))

        assert list(gather(traces_of(model, 2)).values) == ["z", "_RETURN"]


def geometric(n=0):
    heads = aleator.sample(f"flip_{n}", dist.Bernoulli(0.5))
    if heads:
        aleator.sample("path", dist.Normal(torch.zeros(n + 1), 1.0).to_event(1))
        return n
    return geometric(n + 1)


def test_stochastic_control_flow_gives_ragged_columns():
    traces = traces_of(geometric, 30)
    draws = gather(traces)
    assert draws.values["flip_0"].shape == (30,)
    assert draws.values["_RETURN"].tolist() == [trace.nodes["_RETURN"].value for trace in traces]
    longer = [place for place, trace in enumerate(traces) if "flip_1" in trace]
    assert 0 < len(longer) < 30
    assert [place for place, _ in draws.values.ragged("flip_1")] == longer
    with pytest.raises(ValueError, match=f"site 'flip_1' is in {len(longer)} of 30 draws only"):
        draws.values["flip_1"]
    with pytest.raises(ValueError, match="site 'path' changes its shape between draws"):
        draws.values["path"]
    short = draws[draws.values["_RETURN"] == 0]
    assert short.values["path"].shape == (len(short), 1)


def test_results_that_are_no_tensors_are_left_out():
    assert "_RETURN" not in gather(traces_of(lambda: None, 2)).values
    assert "_RETURN" not in gather(traces_of(lambda: {"a": torch.zeros(1)}, 2)).values
    assert gather(traces_of(lambda: 2.5, 2)).values["_RETURN"].tolist() == [2.5, 2.5]


def test_traces_and_batches_keep_their_order():
    trace = traces_of(lambda: aleator.sample("z", dist.Delta(torch.tensor(1.0))), 1)[0]
    builder = DrawsBuilder()
    builder.append(trace, 0.5, chain_id=3)
    builder.extend(Draws({"z": torch.tensor([2.0, 3.0])}, torch.tensor([-1.0, -2.0])))
    builder.append(trace, torch.tensor(4))
    draws = builder.build()
    assert draws.values["z"].tolist() == [1.0, 2.0, 3.0, 1.0]
    assert draws.log_weights.tolist() == [0.5, -1.0, -2.0, 4.0]
    assert draws.chain_ids.tolist() == [3, 0, 0, 0]
    assert torch.equal(builder.build().values["z"], draws.values["z"])


def test_a_trace_that_cannot_be_kept_leaves_the_builder_as_it_was():
    class Word:
        def __call__(self):
            return "word"

        def log_prob(self, value):
            return torch.zeros(())

    def model():
        aleator.sample("z", dist.Normal(0.0, 1.0))
        aleator.sample("word", Word())

    good = traces_of(lambda: aleator.sample("z", dist.Normal(0.0, 1.0)), 1)[0]
    builder = DrawsBuilder()
    builder.append(good)
    with pytest.raises(TypeError, match="site 'word' has a value of type str, but a posterior keeps tensors"):
        builder.append(traces_of(model, 1)[0])
    with pytest.raises(ValueError, match=r"one log weight, but found shape \(2,\)"):
        builder.append(good, torch.zeros(2))
    assert len(builder.build()) == 1


def test_nothing_appended_gives_no_draws():
    draws = DrawsBuilder().build()
    assert len(draws) == 0
    assert list(draws.values) == []
    assert len(draws.traces()) == 0
