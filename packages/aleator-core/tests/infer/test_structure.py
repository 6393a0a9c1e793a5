"""The structure of programs: sites, plates, nesting, dependence; found without touching the stream of randomness."""

from __future__ import annotations

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator import handlers
from aleator.infer import analyse
from aleator.plates import reserve_dims

CALLS = []


@pytest.fixture(autouse=True)
def store():
    with aleator.ParamStore() as inner:
        yield inner


def model(n):
    CALLS.append("model")
    a = aleator.sample("a", dist.Normal(0.0, 1.0))
    with aleator.plate("outer", 2, dim=-2), aleator.plate("data", n):
        b = aleator.sample("b", dist.Bernoulli(logits=a))
        aleator.sample("x", dist.Normal(b, 1.0), obs=torch.zeros(2, n))
    aleator.sample("free", dist.Normal(0.0, 1.0))


def guide(n):
    CALLS.append("guide")
    free = aleator.sample("free", dist.Normal(aleator.param("loc", torch.tensor(0.0)), 1.0))
    aleator.sample("a", dist.Normal(free, 1.0))
    with aleator.plate("outer", 2, dim=-2), aleator.plate("data", n):
        aleator.sample("b", dist.Bernoulli(0.5))


def test_dependence_of_values_and_factors():
    found = analyse(model, guide, 3)
    assert {name: set(site.value_depends_on) for name, site in found.model.items()} == {
        "a": set(),
        "b": {"a"},
        "x": {"b"},
        "free": set(),
    }
    assert {name: set(site.factor_depends_on) for name, site in found.model.items()} == {
        "a": {"a"},
        "b": {"a", "b"},
        "x": {"b"},
        "free": {"free"},
    }
    assert set(found.guide["a"].value_depends_on) == {"free"}
    assert not found.guide["b"].value_depends_on
    assert found.nesting == 2
    assert [frame.name for frame in found.model["x"].frames] == ["outer", "data"]
    assert found.model["x"].is_observed
    assert not found.model["b"].has_rsample


def test_control_flow_on_values_is_dependence():
    def steered():
        z = aleator.sample("z", dist.Bernoulli(0.5))
        aleator.sample("y", dist.Normal(1.0 if z > 0 else -1.0, 1.0), obs=torch.tensor(0.0))

    found = analyse(steered, lambda: aleator.sample("z", dist.Bernoulli(0.5)))
    assert set(found.model["y"].factor_depends_on) == {"z"}


def test_dependence_through_a_module():
    net = torch.nn.Sequential(torch.nn.Linear(1, 4), torch.nn.ReLU(), torch.nn.Linear(4, 1))

    def neural():
        z = aleator.sample("z", dist.Normal(torch.zeros(1), 1.0).to_event(1))
        aleator.sample("y", dist.Normal(net(z), 1.0).to_event(1), obs=torch.zeros(1))

    found = analyse(neural, lambda: aleator.sample("z", dist.Normal(torch.zeros(1), 1.0).to_event(1)))
    assert set(found.model["y"].factor_depends_on) == {"z"}


@pytest.mark.parametrize("own_source", [False, True])
def test_stream_of_randomness_is_left_as_it_was(own_source):
    """SEMANTICS 7: peers guess the nesting with draws from the program's stream."""

    def draw_after(analysed):
        if analysed:
            analyse(lambda: model(4), lambda: guide(4))
        return torch.randn(3) if not own_source else dist.Normal(torch.zeros(3), 1.0).sample()

    results = []
    for analysed in (False, True):
        aleator.set_rng_seed(0)
        if own_source:
            with aleator.rng(7):
                results.append(draw_after(analysed))
        else:
            results.append(draw_after(analysed))
    assert torch.equal(*results)


def test_cached_by_code_and_shapes():
    analyse(model, guide, 5)
    del CALLS[:]
    analyse(model, guide, 5)
    assert CALLS == []
    analyse(model, guide, 6)
    assert sorted(CALLS) == ["guide", "model"]


def test_programs_from_one_factory_are_told_apart():
    def make(size):
        def program():
            with aleator.plate("p", size):
                aleator.sample("z", dist.Normal(0.0, 1.0))

        return program

    small, large = make(2), make(5)
    assert analyse(small, small).model["z"].batch_shape == (2,)
    assert analyse(large, large).model["z"].batch_shape == (5,)


def test_describes_tells_a_run_that_differs():
    found = analyse(model, guide, 3)

    def run(n):
        guide_trace = handlers.trace(guide).get_trace(n)
        return handlers.trace(handlers.replay(model, trace=guide_trace)).get_trace(n), guide_trace

    assert found.describes(*run(3))
    assert not found.describes(*run(4))


def test_a_parameter_is_made_once(store):
    inits = []

    def program():
        aleator.sample("z", dist.Normal(aleator.param("p", lambda: inits.append(1) or torch.tensor(0.0)), 1.0))

    analyse(program, program)
    program()
    assert inits == [1]
    assert list(store.keys()) == ["p"]


def test_reserved_dims_say_which_site_they_mean():
    class Enumerated(handlers.Messenger):
        def process_sample(self, site):
            if site.name == "z" and site.value is None:
                site.value = torch.arange(2.0).reshape(2, 1)

    def program():
        with aleator.plate("data", 3):
            aleator.sample("x", dist.Normal(aleator.sample("z", dist.Bernoulli(0.5)), 1.0), obs=torch.zeros(3))

    def outside():
        z = aleator.sample("z", dist.Bernoulli(0.5))
        with aleator.plate("data", 3):
            aleator.sample("x", dist.Normal(z, 1.0), obs=torch.zeros(3))

    with handlers.trace():
        (dim,) = reserve_dims(1, left_of=-1)
        with Enumerated():
            found = analyse(outside, lambda: None)
    assert dim == -2
    assert found.model["x"].dims == {-2: frozenset({"z"})}
