"""`condition` and `uncondition`: draws into data, and back."""

import warnings

import pytest
import torch
from torch.distributions import Normal

import aleator
from aleator import handlers
from aleator.errors import AleatorWarning, SupportError, UnsupportedModelError


def chain(language):
    def model():
        a = language.sample("a", Normal(0.0, 1.0))
        return a, language.sample("b", Normal(a, 1.0))

    return model


def test_data_make_a_site_observed(language):
    conditioned = language.handlers.condition(chain(language), data={"b": torch.tensor(2.0)})
    trace = language.handlers.trace(conditioned).get_trace()
    assert trace.nodes["b"].is_observed
    assert trace.nodes["b"].value == 2.0
    assert not trace.nodes["a"].is_observed
    a = trace.nodes["a"].value
    expected = Normal(0.0, 1.0).log_prob(a) + Normal(a, 1.0).log_prob(torch.tensor(2.0))
    torch.testing.assert_close(trace.log_prob_sum(), expected)


def test_it_is_what_obs_says(language):
    def observed():
        a = language.sample("a", Normal(0.0, 1.0), obs=torch.tensor(2.0))
        return a, language.sample("b", Normal(a, 1.0))

    conditioned = language.handlers.condition(chain(language), data={"a": 2.0})
    traces = [
        language.handlers.trace(language.handlers.seed(program, rng_seed=3)).get_trace()
        for program in (observed, conditioned)
    ]
    assert traces[0].log_prob_sum() == traces[1].log_prob_sum()
    assert traces[0].nodes["b"].value == traces[1].nodes["b"].value


def test_none_leaves_a_site_latent(language):
    """SEMANTICS 69; nothing is warned about it, also where the site is missing."""
    conditioned = language.handlers.condition(chain(language), data={"a": None, "elsewhere": None})
    assert not language.handlers.trace(conditioned).get_trace().nodes["a"].is_observed


def test_a_trace_is_accepted(language):
    """SEMANTICS 69."""
    earlier = language.handlers.trace(chain(language)).get_trace()
    trace = language.handlers.trace(language.handlers.condition(chain(language), data=earlier)).get_trace()
    assert trace.nodes["a"].is_observed
    assert trace.nodes["_RETURN"].value == earlier.nodes["_RETURN"].value


def test_a_name_that_matches_nothing_warns(language):
    """SEMANTICS 69 (unlike Pyro): a misspelt name must not pass in silence."""
    conditioned = language.handlers.condition(chain(language), data={"aa": torch.tensor(1.0), "b": torch.tensor(1.0)})
    with pytest.warns(UserWarning, match="no site .*'aa'"):
        conditioned()


def test_no_warning_on_top_of_an_error(language):
    def model():
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        language.handlers.condition(model, data={"a": torch.tensor(1.0)})()


def test_the_outer_of_two_counts(language):
    inner = language.handlers.condition(chain(language), data={"a": torch.tensor(1.0)})
    outer = language.handlers.condition(inner, data={"a": torch.tensor(2.0)})
    assert outer()[0] == 2.0


# ---- the core alone ----


def test_the_warning_names_handler_and_nearest_site_and_points_at_the_program():
    """Core only."""
    conditioned = handlers.condition(lambda: aleator.sample("weight", Normal(0.0, 1.0)), data={"wieght": 1.0})
    with pytest.warns(AleatorWarning) as caught:
        conditioned()
    text = str(caught[0].message)
    assert "condition: no site 'wieght' in this run" in text
    assert "did you mean 'weight'?" in text
    assert caught[0].filename == __file__


def test_minibatches_come_along_with_a_trace():
    """Core only: values of local sites belong to the traced elements."""

    def model():
        with aleator.plate("data", 50, subsample_size=3) as indices:
            aleator.sample("z", Normal(indices.float(), 1e-6))
        return indices

    earlier = handlers.trace(model).get_trace()
    assert torch.equal(handlers.condition(model, data=earlier)(), earlier.nodes["data"].value)


def test_deterministic_sites_follow_what_they_are_made_of():
    """Core only: of a trace they are left out; data for one by name are refused, since they would say nothing."""

    def model():
        z = aleator.sample("z", Normal(0.0, 1.0))
        return aleator.deterministic("twice", 2 * z)

    earlier = handlers.trace(model).get_trace()
    assert handlers.condition(model, data=earlier)() == 2 * earlier.nodes["z"].value
    with pytest.raises(UnsupportedModelError, match="condition: site 'twice' is deterministic"):
        handlers.condition(model, data={"twice": torch.tensor(1.0)})()


def test_data_from_outside_are_checked_against_the_support():
    """Core only."""
    model = handlers.condition(lambda: aleator.sample("p", aleator.distributions.Beta(1.0, 1.0)), data={"p": 2.0})
    with pytest.raises(SupportError, match="site 'p'"):
        model()


def test_entries_of_one_handler_in_recursion_warn_each_for_itself():
    """Core only: notes of a run live with the run."""
    conditioned = handlers.condition(data={"a": torch.tensor(1.0)})

    def inner():
        return aleator.sample("b", Normal(0.0, 1.0))

    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with conditioned:
            aleator.sample("a", Normal(0.0, 1.0))
            with conditioned:
                inner()
    assert len(caught) == 1


def test_as_a_top_level_word():
    """Core only: `aleator.condition` and `aleator.do` are the handlers."""
    assert aleator.condition is handlers.condition
    assert aleator.do is handlers.do


@pytest.mark.parametrize("data", [3.0, [1.0]])
def test_what_is_no_mapping_is_refused(data):
    """Core only."""
    with pytest.raises(TypeError, match="condition expects data by site name, or a Trace"):
        handlers.condition(data=data)


# ---- uncondition ----


def observed_model():
    z = aleator.sample("z", Normal(0.0, 1.0))
    x = aleator.sample("x", Normal(z, 1.0), obs=torch.tensor(2.0), infer={"is_auxiliary": True})
    aleator.factor("penalty", torch.tensor(-1.0))
    return aleator.deterministic("sum", z + x)


def test_uncondition_draws_and_remembers():
    """SEMANTICS 75: `infer["was_observed"]`, `infer["obs"]`. Core only."""
    trace = handlers.trace(handlers.uncondition(observed_model)).get_trace()
    site = trace.nodes["x"]
    assert not site.is_observed
    assert site.value != 2.0
    assert site.infer == {"is_auxiliary": True, "was_observed": True, "obs": torch.tensor(2.0)}


def test_uncondition_leaves_records_and_factors_alone():
    """Core only: `deterministic` and `factor` have no data to forget."""
    trace = handlers.trace(handlers.uncondition(observed_model)).get_trace()
    assert trace.observation_nodes == ["penalty", "sum"]
    assert trace.nodes["sum"].value == trace.nodes["z"].value + trace.nodes["x"].value


def test_uncondition_undoes_condition():
    """Core only."""
    model = handlers.uncondition(handlers.condition(lambda: aleator.sample("a", Normal(0.0, 1.0)), data={"a": 9.0}))
    site = handlers.trace(model).get_trace().nodes["a"]
    assert not site.is_observed
    assert site.infer["obs"] == 9.0
    assert site.value != 9.0
