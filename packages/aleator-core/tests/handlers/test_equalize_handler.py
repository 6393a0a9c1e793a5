"""`equalize`: several sites, one value. The core alone has it."""

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator import handlers
from aleator.errors import UnsupportedModelError


def model():
    a = aleator.sample("a_std", dist.LogNormal(0.0, 1.0))
    b = aleator.sample("b_std", dist.LogNormal(1.0, 1.0))
    c = aleator.sample("c_mean", dist.Normal(0.0, 1.0))
    return a, b, c


def test_later_sites_record_the_first_value():
    """SEMANTICS 75: without `keep_dist` the later sites count nothing."""
    trace = handlers.trace(handlers.equalize(model, ".+_std")).get_trace()
    a, b, c = trace.nodes["_RETURN"].value
    assert a == b != c
    assert trace.stochastic_nodes == ["a_std", "c_mean"]
    expected = dist.LogNormal(0.0, 1.0).log_prob(a) + dist.Normal(0.0, 1.0).log_prob(c)
    torch.testing.assert_close(trace.log_prob_sum(), expected)


def test_kept_distributions_score_the_value():
    """SEMANTICS 75: with `keep_dist` the model is conditioned on the sites being equal."""
    trace = handlers.trace(handlers.equalize(model, ["a_std", "b_.*"], keep_dist=True)).get_trace()
    a, b, c = trace.nodes["_RETURN"].value
    assert a == b
    assert trace.nodes["b_std"].is_observed
    densities = dist.LogNormal(0.0, 1.0).log_prob(a), dist.LogNormal(1.0, 1.0).log_prob(a)
    torch.testing.assert_close(trace.log_prob_sum(), sum(densities) + dist.Normal(0.0, 1.0).log_prob(c))


def test_names_match_whole():
    a, b, _ = handlers.equalize(model, "std")()
    assert a != b


def test_parameters():
    def program():
        return aleator.param("x_shift", torch.tensor(1.0)), aleator.param("y_shift", torch.tensor(2.0))

    assert handlers.equalize(program, ".+_shift", type="param")() == (1.0, 1.0)
    assert "y_shift" not in aleator.get_param_store()


def test_each_run_has_a_value_of_its_own():
    equalized = handlers.equalize(model, ".+_std")
    assert equalized()[0] != equalized()[0]


def test_a_value_from_outside_reaches_all():
    assert handlers.condition(handlers.equalize(model, ".+_std"), data={"a_std": torch.tensor(5.0)})()[:2] == (5.0, 5.0)


def test_data_are_not_lost():
    def observed():
        aleator.sample("a_std", dist.LogNormal(0.0, 1.0))
        aleator.sample("b_std", dist.LogNormal(1.0, 1.0), obs=torch.tensor(3.0))

    with pytest.raises(UnsupportedModelError, match=r"site 'b_std' is observed.*observe 'a_std'"):
        handlers.equalize(observed, ".+_std")()


def test_other_types_are_refused():
    with pytest.raises(ValueError, match="equalize works on sites of type 'sample' or 'param', but found 'plate'"):
        handlers.equalize(sites="a", type="plate")
