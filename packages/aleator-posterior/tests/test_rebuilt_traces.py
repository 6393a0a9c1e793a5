import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator import handlers
from aleator_posterior import DrawsBuilder

DATA = torch.arange(10.0)


def local_model():
    scale = aleator.sample("scale", dist.LogNormal(torch.zeros(2), 1.0).to_event(1))
    with aleator.plate("data", 10, subsample_size=4):
        z = aleator.sample("z", dist.Normal(0.0, scale[0]))
        aleator.sample("x", dist.Normal(z, 1.0), obs=aleator.subsample(DATA, 0))
        aleator.deterministic("half", z / 2, event_dim=0)
    aleator.factor("penalty", -scale.sum())
    return scale.sum()


@pytest.fixture
def originals():
    with aleator.rng(1):
        return [handlers.trace(local_model).get_trace() for _ in range(4)]


@pytest.fixture
def draws(originals):
    builder = DrawsBuilder()
    for trace in originals:
        builder.append(trace)
    return builder.build()


def test_each_trace_has_its_draw_s_values(originals, draws):
    for original, rebuilt in zip(originals, draws.traces(), strict=True):
        assert list(rebuilt) == ["data", "scale", "z", "x", "half", "_RETURN"]
        for name, site in rebuilt.nodes.items():
            assert torch.equal(site.value, original.nodes[name].value)
            assert (site.type, site.is_observed, site.frames) == (
                original.nodes[name].type,
                original.nodes[name].is_observed,
                original.nodes[name].frames,
            )
        assert rebuilt.stochastic_nodes == ["scale", "z"]
        assert rebuilt.observation_nodes == ["x", "half"]


def test_local_latents_keep_their_datum_under_replay(draws):
    for place, trace in enumerate(draws.traces()):
        again = handlers.trace(handlers.replay(local_model, trace=trace)).get_trace()
        indices = draws.subsamples["data"][place]
        assert torch.equal(again.nodes["data"].value, indices)
        assert torch.equal(again.nodes["z"].value, draws.values["z"][place])
        assert torch.equal(again.nodes["x"].value, DATA[indices])


def test_replay_scores_a_draw_as_its_own_run_did(originals, draws):
    again = handlers.trace(handlers.replay(local_model, trace=draws.traces()[2])).get_trace()
    torch.testing.assert_close(again.log_prob_sum(), originals[2].log_prob_sum())


def test_a_trace_tells_shapes_but_no_log_prob(draws):
    trace = draws.traces()[0]
    assert "scale dist          | 2" in trace.format_shapes()
    assert tuple(trace.nodes["z"].fn.batch_shape) == (4,)
    assert trace.nonreparam_stochastic_nodes == ["scale", "z"]
    with pytest.raises(ValueError, match="keeps the values of site 'scale', not its distribution"):
        trace.log_prob_sum()
    with pytest.raises(ValueError, match="keeps the values of site 'z', not its distribution"):
        trace.nodes["z"].fn()


def test_traces_are_made_anew_and_writing_into_one_changes_nothing_stored(draws):
    traces = draws.traces()
    traces[0].nodes["z"].value = None
    traces[0].nodes["z"].infer["mark"] = 1
    del traces[0].nodes["x"]
    assert traces[0] is not traces[0]
    assert torch.equal(traces[0].nodes["z"].value, draws.values["z"][0])
    assert "x" in traces[0]
    assert "mark" not in traces[0].nodes["z"].infer


def test_values_in_a_trace_are_views_of_the_columns(draws):
    assert draws.traces()[1].nodes["z"].value.data_ptr() == draws.values["z"][1].data_ptr()


def test_it_is_a_sequence(draws):
    traces = draws.traces()
    assert len(traces) == 4
    assert len(traces[1:3]) == 2
    assert torch.equal(traces[1:3][-1].nodes["z"].value, draws.values["z"][2])
    assert torch.equal(traces[-1].nodes["z"].value, draws.values["z"][3])
    assert repr(traces) == "RebuiltTraces(4 traces of scale, z, x, half, _RETURN)"
    with pytest.raises(IndexError):
        traces[4]


def test_a_trace_lacks_the_sites_that_its_draw_lacks():
    def model():
        if aleator.sample("flip", dist.Bernoulli(0.5)):
            aleator.sample("more", dist.Normal(torch.zeros(2), 1.0).to_event(1))

    builder = DrawsBuilder()
    with aleator.rng(0):
        for _ in range(10):
            builder.append(handlers.trace(model).get_trace())
    flips = []
    for trace in builder.build().traces():
        flips.append(bool(trace.nodes["flip"].value))
        assert ("more" in trace) == flips[-1]
    assert set(flips) == {False, True}
