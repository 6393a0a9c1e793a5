"""`block`: what handlers further out do not see."""

import pytest
import torch
from torch.distributions import Normal

import aleator
from aleator import handlers


def program(language):
    def model():
        scale = language.param("scale", torch.tensor(1.0))
        with language.plate("data", 2):
            a = language.sample("a", Normal(0.0, scale))
            language.sample("x", Normal(a, 1.0), obs=torch.zeros(2))

    return model


EVERYTHING = {"scale", "data", "a", "x"}


def visible(language, **rule):
    trace = language.handlers.trace(language.handlers.block(program(language), **rule)).get_trace()
    return set(trace.nodes) - {"_INPUT", "_RETURN"}


def test_without_arguments_all_is_hidden(language):
    """SEMANTICS 67."""
    assert visible(language) == set()


@pytest.mark.parametrize(
    ("rule", "seen"),
    [
        ({"hide": ["a"]}, EVERYTHING - {"a"}),
        ({"hide_types": ["param"]}, EVERYTHING - {"scale"}),
        ({"hide": ["a"], "hide_types": ["param"]}, EVERYTHING - {"a", "scale"}),
        ({"expose": ["a"]}, {"a"}),
        ({"expose_types": ["param"]}, {"scale"}),
        ({"expose": ["a"], "expose_types": ["param"]}, {"a", "scale"}),
        ({"hide_types": ["observe"]}, EVERYTHING - {"x"}),
        ({"expose_types": ["observe"]}, {"x"}),
        ({"hide_types": ["subsample"]}, EVERYTHING - {"data"}),
    ],
)
def test_rules(language, rule, seen):
    """SEMANTICS 67: `expose` and `expose_types` flip to hiding all others."""
    assert visible(language, **rule) == seen


def test_observed_sites_have_the_type_observe(language):
    """SEMANTICS 67: `hide_types=["sample"]` does not hide data."""
    seen = visible(language, hide_types=["sample"])
    assert "x" in seen
    assert "a" not in seen


def test_a_predicate_overrides_everything(language):
    """SEMANTICS 67."""
    assert visible(language, hide_fn=lambda site: site.name == "x") == EVERYTHING - {"x"}
    assert visible(language, hide_fn=lambda site: site.name == "x", hide=["a"]) == EVERYTHING - {"x"}


def test_hidden_sites_run_and_inner_handlers_see_them(language):
    """SEMANTICS 67."""
    inner = language.handlers.trace(program(language))
    outer = language.handlers.trace(language.handlers.block(inner)).get_trace()
    assert set(inner.trace.nodes) >= EVERYTHING
    assert not set(outer.nodes) & EVERYTHING


def test_outer_handlers_have_no_effect_on_hidden_sites(language):
    def model():
        with language.handlers.block(hide=["a"]):
            return language.sample("a", Normal(0.0, 1.0)), language.sample("b", Normal(0.0, 1.0))

    with pytest.warns(UserWarning, match="'a'"):
        a, b = language.handlers.condition(model, data={"a": torch.tensor(3.0), "b": torch.tensor(4.0)})()
    assert a != 3.0
    assert b == 4.0


# ---- the core alone ----


def test_the_other_predicate():
    """Core only: `expose_fn`; SEMANTICS 67: the two predicates exclude each other."""

    def model():
        aleator.sample("a", Normal(0.0, 1.0))
        aleator.sample("b", Normal(0.0, 1.0))

    seen = handlers.trace(handlers.block(model, expose_fn=lambda site: site["name"] == "b")).get_trace()
    assert seen.stochastic_nodes == ["b"]
    with pytest.raises(ValueError, match="hide_fn or expose_fn, not both"):
        handlers.block(model, hide_fn=bool, expose_fn=bool)


@pytest.mark.parametrize("words", ["site", "type"])
def test_contradictions_raise(words):
    """Core only: one name or type to hide and to expose."""
    suffix = "" if words == "site" else "_types"
    with pytest.raises(ValueError, match=rf"both to hide and to expose the {words} 'sample'"):
        handlers.block(**{f"hide{suffix}": ["sample"], f"expose{suffix}": ["sample"]})


def test_the_last_argument_given_decides_about_the_rest():
    """Core only: mixed arguments, in the order hide, expose, hide_types, expose_types."""

    def model():
        aleator.param("p", torch.tensor(1.0))
        aleator.sample("a", Normal(0.0, 1.0))

    assert "p" in handlers.trace(handlers.block(model, expose=["b"], hide_types=["sample"])).get_trace()
    assert "p" not in handlers.trace(handlers.block(model, hide=["b"], expose_types=["sample"])).get_trace()


def test_minibatches_answer_to_sample_too():
    """Core only: a plate's indices are drawn; who exposes or hides draws means them too."""

    def model():
        with aleator.plate("data", 5, subsample_size=2):
            aleator.sample("a", Normal(0.0, 1.0))

    exposed = handlers.trace(handlers.block(model, expose_types=["sample"])).get_trace()
    hidden = handlers.trace(handlers.block(model, hide_types=["sample"])).get_trace()
    assert {"data", "a"} <= set(exposed.nodes)
    assert not {"data", "a"} & set(hidden.nodes)


def test_a_hidden_site_does_not_get_the_plates_outside():
    """Core only: a plate is a handler too."""
    with aleator.plate("data", 3), handlers.block():
        assert aleator.sample("a", Normal(0.0, 1.0)).shape == ()
