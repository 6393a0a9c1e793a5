"""The record of a run, and the questions that one asks of it."""

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator import handlers
from aleator.sites import Site
from aleator.trace import REREAD, Trace


@pytest.fixture
def trace():
    def model():
        a = aleator.param("a", torch.tensor(1.0))
        z = aleator.sample("z", dist.Normal(a, 1.0))
        k = aleator.sample("k", dist.Bernoulli(0.5))
        with aleator.plate("data", 4, subsample_size=2):
            aleator.sample("x", dist.Normal(z + k, 1.0), obs=torch.zeros(2))
        aleator.deterministic("d", z * 2)

    with aleator.ParamStore():
        yield handlers.trace(model).get_trace()


def test_lists_of_names(trace):
    """DESIGN 3."""
    assert trace.stochastic_nodes == ["z", "k"]
    assert trace.observation_nodes == ["x", "d"]
    assert trace.param_nodes == ["a"]
    assert trace.nonreparam_stochastic_nodes == ["k"]


def test_nodes_read_both_ways(trace):
    """DESIGN 3: people write both."""
    assert trace.nodes["z"].value is trace.nodes["z"]["value"]


def test_it_is_a_collection_of_names(trace):
    assert "z" in trace
    assert "_INPUT" in trace
    assert next(iter(trace)) == "_INPUT"
    assert len(trace) == len(trace.nodes) == 8
    assert repr(trace) == "Trace(_INPUT, a, z, k, data, x, d, _RETURN)"


def test_the_sum_counts_masks_scales_and_plates(trace):
    z, k = trace.nodes["z"].value, trace.nodes["k"].value
    latent = dist.Normal(1.0, 1.0).log_prob(z) + dist.Bernoulli(0.5).log_prob(k)
    observed = 4 * dist.Normal(z + k, 1.0).log_prob(torch.tensor(0.0))
    torch.testing.assert_close(trace.log_prob_sum().detach(), (latent + observed).detach())
    torch.testing.assert_close(trace.log_prob_sum(lambda name, site: site.is_observed).detach(), observed.detach())


def test_an_empty_record():
    assert Trace().log_prob_sum() == 0.0
    assert Trace().format_shapes() == "Trace Shapes:"


def test_a_copy_is_a_record_of_its_own(trace):
    """SEMANTICS 55."""
    other = trace.copy()
    other.nodes["z"].value = torch.tensor(9.0)
    other.nodes["z"].infer["obs"] = 1
    del other.nodes["k"]
    assert trace.nodes["z"].value != 9.0
    assert trace.nodes["z"].infer == {}
    assert "k" in trace


def test_detaching_is_in_place(trace):
    assert trace.nodes["z"].value.requires_grad
    assert trace.detach_() is trace
    assert not trace.nodes["z"].value.requires_grad
    assert trace.nodes["a"].value.requires_grad


def test_names_are_unique():
    """SEMANTICS 74: the messages name both sites."""
    trace = Trace()
    trace.add(Site("sample", "x"))
    with pytest.raises(ValueError, match=r"two sample sites named 'x' in one run; .*put the counter into the name"):
        trace.add(Site("sample", "x"))
    with pytest.raises(ValueError, match=r"site 'x' is a sample site and, later in the same run, a param site; rename"):
        trace.add(Site("param", "x"))
    trace.add(Site("param", "a"))
    trace.add(Site("param", "a"))
    with pytest.raises(ValueError, match="'a' is a param site and, later in the same run, a sample site"):
        trace.add(Site("sample", "a"))


def test_the_first_of_what_is_read_again_is_kept():
    """SEMANTICS 71."""
    trace, again = Trace(), Site("sample", "x")
    first = Site("sample", "x")
    again.stash[REREAD] = True
    trace.add(first)
    trace.add(again)
    assert trace.nodes["x"] is first
