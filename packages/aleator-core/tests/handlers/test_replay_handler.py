"""`replay`: a program on the values of an earlier run."""

import pytest
import torch
from torch.distributions import Bernoulli, Normal

import aleator
from aleator import handlers
from aleator.errors import ModelGuideMismatchError


def guide_and_model(language):
    def guide():
        language.sample("z", Normal(0.0, 1.0), infer={"is_auxiliary": True})

    def model():
        z = language.sample("z", Normal(5.0, 1.0), infer={"obs": "own"})
        language.sample("x", Normal(z, 1.0), obs=torch.tensor(7.0))
        return z

    return guide, model


def test_latent_values_are_the_traced_ones_and_distributions_the_programs_own(language):
    guide, model = guide_and_model(language)
    guided = language.handlers.trace(guide).get_trace()
    trace = language.handlers.trace(language.handlers.replay(model, trace=guided)).get_trace()
    assert trace.nodes["z"].value is guided.nodes["z"].value
    assert trace.nodes["_RETURN"].value is guided.nodes["z"].value
    assert trace.nodes["z"].fn.mean == 5.0


def test_observed_sites_keep_their_data(language):
    """SEMANTICS 68."""

    def program(observed):
        return language.sample("x", Normal(0.0, 1.0), obs=torch.tensor(7.0) if observed else None)

    traced = language.handlers.trace(program).get_trace(False)
    assert language.handlers.replay(program, trace=traced)(True) == 7.0
    assert language.handlers.replay(program, trace=traced)(False) == traced.nodes["x"].value


def test_a_site_that_the_trace_observed_cannot_be_replayed(language):
    """SEMANTICS 68: an observed guide site raises, naming it."""

    def program(observed):
        return language.sample("x", Normal(0.0, 1.0), obs=torch.tensor(7.0) if observed else None)

    traced = language.handlers.trace(program).get_trace(True)
    with pytest.raises(ValueError, match=r"'x' is latent here, but .*observed"):
        language.handlers.replay(program, trace=traced)(False)
    assert language.handlers.replay(program, trace=traced)(True) == 7.0


def test_a_parameter_in_the_trace_is_no_draw():
    """Core only: the message tells the two types."""
    with handlers.trace() as traced:
        aleator.param("x", torch.tensor(1.0))
    with pytest.raises(ModelGuideMismatchError, match="'x' is latent here, but a param site in the trace"):
        handlers.replay(lambda: aleator.sample("x", Normal(0.0, 1.0)), trace=traced)()


def test_options_of_both_are_merged_and_the_traced_ones_win(language):
    """SEMANTICS 68 (unlike Pyro, which replaces the model's by the guide's)."""

    def program(**infer):
        return language.sample("z", Normal(0.0, 1.0), infer=infer)

    traced = language.handlers.trace(program).get_trace(obs="guide", is_auxiliary=True)
    replayed = language.handlers.replay(program, trace=traced)
    site = language.handlers.trace(replayed).get_trace(obs="model", was_observed=False).nodes["z"]
    assert dict(site.infer) == {"obs": "guide", "is_auxiliary": True, "was_observed": False}
    assert dict(traced.nodes["z"].infer) == {"obs": "guide", "is_auxiliary": True}


def test_sites_that_the_trace_lacks_are_drawn(language):
    traced = language.handlers.trace(lambda: language.sample("a", Normal(0.0, 1.0))).get_trace()

    def model():
        return language.sample("a", Normal(0.0, 1.0)), language.sample("b", Normal(0.0, 1.0))

    a, b = language.handlers.replay(model, trace=traced)()
    assert a is traced.nodes["a"].value
    assert b != a


def test_minibatches_are_the_traced_ones(language):
    def program():
        with language.plate("data", 100, subsample_size=5) as indices:
            return indices

    traced = language.handlers.trace(program).get_trace()
    assert torch.equal(language.handlers.replay(program, trace=traced)(), traced.nodes["data"].value)
    assert not torch.equal(program(), traced.nodes["data"].value)


def test_an_explicit_minibatch_wins(language):
    """SEMANTICS 68 (unlike Pyro, issue 3468): indices that the program states are not overridden."""

    def program(subsample=None):
        with language.plate("data", 100, subsample_size=None if subsample is not None else 2, subsample=subsample) as i:
            return i

    traced = language.handlers.trace(program).get_trace()
    stated = torch.tensor([3, 4])
    assert torch.equal(language.handlers.replay(program, trace=traced)(stated), stated)


def test_a_value_that_an_inner_handler_gave_wins(language):
    """SEMANTICS 66: a value already set is never set again; `condition` inside stands."""
    program = language.handlers.condition(lambda: language.sample("z", Normal(0.0, 1.0)), data={"z": torch.tensor(9.0)})
    traced = language.handlers.trace(lambda: language.sample("z", Normal(0.0, 1.0))).get_trace()
    assert language.handlers.replay(program, trace=traced)() == 9.0


def test_discrete_values_too(language):
    def program():
        return torch.stack([language.sample(f"z{k}", Bernoulli(0.5)) for k in range(20)])

    traced = language.handlers.trace(program).get_trace()
    assert torch.equal(language.handlers.replay(program, trace=traced)(), traced.nodes["_RETURN"].value)


def test_parameters_by_value():
    """Core only: `params`."""

    def program():
        return aleator.param("a", torch.tensor(1.0)), aleator.param("b", torch.tensor(2.0))

    a, b = handlers.replay(program, params={"a": torch.tensor(5.0)})()
    assert (a, b) == (5.0, 2.0)
    assert "a" not in aleator.get_param_store()


def test_a_minibatch_of_another_size_is_refused():
    """Core only: the plate names itself and both sizes."""

    def program(count):
        with aleator.plate("data", 10, subsample_size=count):
            pass

    traced = handlers.trace(program).get_trace(4)
    with pytest.raises(ValueError, match=r"plate 'data': expected 3 indices, but a handler .* gave 4"):
        handlers.replay(program, trace=traced)(3)


def test_what_is_no_trace_is_refused():
    """Core only."""
    with pytest.raises(TypeError, match="replay expects a Trace, but found dict"):
        handlers.replay(trace={"z": 1.0})
    with pytest.raises(TypeError, match=r"replay needs trace="):
        handlers.replay()
