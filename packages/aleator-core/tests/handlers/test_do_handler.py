"""`do`: interventions and counterfactuals."""

import pytest
import torch
from torch.distributions import Normal

import aleator
from aleator import handlers


def chain(language):
    def model():
        x = language.sample("x", Normal(0.0, 1.0))
        y = language.sample("y", Normal(x, 1.0))
        return x, y

    return model


def test_the_program_goes_on_with_the_intervention(language):
    """SEMANTICS 70: the original site stays a fresh latent; `x__CF` is hidden from handlers further out."""
    trace = language.handlers.trace(language.handlers.do(chain(language), data={"x": torch.tensor(50.0)})).get_trace()
    x, y = trace.nodes["_RETURN"].value
    assert x == 50.0
    assert abs(y - 50.0) < 10
    assert abs(trace.nodes["x"].value) < 10
    assert not trace.nodes["x"].is_observed
    assert "x__CF" not in trace.nodes
    assert trace.nodes["y"].fn.mean == 50.0


def test_inner_handlers_see_both(language):
    """SEMANTICS 70."""
    inner = language.handlers.trace(chain(language))
    language.handlers.do(inner, data={"x": torch.tensor(50.0)})()
    nodes = inner.trace.nodes
    assert nodes["x__CF"].value == 50.0
    assert nodes["x__CF"].is_observed
    assert not nodes["x"].is_observed
    assert abs(nodes["x"].value) < 10


def test_counterfactual(language):
    """SEMANTICS 70: condition on `x`, do on `x`: data inform the draw, the program goes on with the intervention."""
    intervened = language.handlers.do(chain(language), data={"x": torch.tensor(50.0)})
    both = language.handlers.condition(intervened, data={"x": torch.tensor(1.0), "y": torch.tensor(2.0)})
    trace = language.handlers.trace(both).get_trace()
    assert trace.nodes["x"].is_observed
    assert trace.nodes["x"].value == 1.0
    assert trace.nodes["_RETURN"].value == (50.0, 2.0)
    expected = Normal(0.0, 1.0).log_prob(torch.tensor(1.0)) + Normal(50.0, 1.0).log_prob(torch.tensor(2.0))
    torch.testing.assert_close(trace.log_prob_sum(), expected)


def test_condition_inside_keeps_its_data(language):
    """SEMANTICS 70: in the other order the draw is data already; the program goes on with the intervention."""
    conditioned = language.handlers.condition(chain(language), data={"x": torch.tensor(1.0)})
    trace = language.handlers.trace(language.handlers.do(conditioned, data={"x": torch.tensor(50.0)})).get_trace()
    assert trace.nodes["x"].is_observed
    assert trace.nodes["x"].value == 1.0
    assert trace.nodes["_RETURN"].value[0] == 50.0


def test_two_interventions_warn_and_the_inner_one_counts(language):
    """SEMANTICS 70: double intervention warns."""
    inner = language.handlers.do(chain(language), data={"x": torch.tensor(1.0)})
    outer = language.handlers.do(inner, data={"x": torch.tensor(2.0)})
    with pytest.warns(UserWarning, match="'x'"):
        assert outer()[0] == 1.0


def test_handlers_inside_have_their_effect_once(language):
    """Unlike Pyro, which sends the copy through the inner handlers a second time, so that scales square."""
    scaled = language.handlers.scale(chain(language), scale=3.0)
    trace = language.handlers.trace(language.handlers.do(scaled, data={"x": torch.tensor(1.0)})).get_trace()
    assert trace.nodes["x"].scale == 3.0
    assert trace.nodes["y"].scale == 3.0  # the handlers inside are still there afterwards


def test_plates_outside_and_inside_widen_the_draw_once(language):
    def model():
        with language.plate("inner", 2, dim=-1):
            return language.sample("x", Normal(0.0, 1.0))

    with language.handlers.trace() as trace, language.plate("outer", 3, dim=-2):
        language.handlers.do(model, data={"x": torch.tensor(1.0)})()
    assert trace.nodes["x"].value.shape == (3, 2)
    assert [frame.name for frame in trace.nodes["x"].frames] == ["outer", "inner"]


def test_a_name_that_matches_nothing_warns(language):
    with pytest.warns(UserWarning, match="no site .*'xx'"):
        language.handlers.do(chain(language), data={"xx": torch.tensor(1.0)})()


def test_none_leaves_a_site_alone(language):
    trace = language.handlers.trace(language.handlers.do(chain(language), data={"x": None})).get_trace()
    assert trace.nodes["_RETURN"].value[0] is trace.nodes["x"].value


def test_an_error_further_out_leaves_the_stack_whole():
    """Core only: the draw of the split site runs on a part of the stack."""

    class Fail(handlers.Messenger):
        def process_sample(self, site):
            raise KeyError(site.name)

    with handlers.trace() as trace:
        with pytest.raises(KeyError), Fail():
            handlers.do(lambda: aleator.sample("x", Normal(0.0, 1.0)), data={"x": 1.0})()
        aleator.sample("after", Normal(0.0, 1.0))
    assert trace.stochastic_nodes == ["after"]


def test_a_program_that_catches_an_error_from_further_out_goes_on():
    """Core only: with all its handlers."""

    class Fail(handlers.Messenger):
        def process_sample(self, site):
            if site.name == "x":
                raise KeyError("outside")

    def model():
        try:
            aleator.sample("x", Normal(0.0, 1.0))
        except KeyError:
            aleator.sample("y", Normal(0.0, 1.0))

    with handlers.trace() as trace, Fail():
        handlers.do(handlers.scale(model, scale=3.0), data={"x": 1.0})()
    assert trace.nodes["y"].scale == 3.0


def test_a_number_will_do():
    """Core only."""
    assert handlers.do(chain(aleator), data={"x": 3})()[0] == 3
    with pytest.raises(TypeError, match="do expects values by site name, but found list"):
        handlers.do(data=[1.0])
