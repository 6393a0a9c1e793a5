"""Which factors a draw enters: through later draws, through the host, through several ways of one program."""

from __future__ import annotations

from functools import partial

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator import handlers
from aleator.infer import analyse
from aleator.infer.structure import SITE_STRUCTURE, annotate

ZERO = torch.tensor(0.0)


@pytest.fixture(autouse=True)
def store():
    with aleator.ParamStore() as inner:
        yield inner


def bernoulli(name, logits=ZERO, **keywords):
    return aleator.sample(name, dist.Bernoulli(logits=logits), **keywords)


def observe(name, loc):
    aleator.sample(name, dist.Normal(loc, 1.0), obs=ZERO)


def test_a_late_host_read_leaves_earlier_factors_alone():
    """SEMANTICS 11: what was read after a site did not steer it."""

    def model():
        a = bernoulli("a")
        b = bernoulli("b")
        observe("x", a)
        observe("y", b if b > 0 else -b)
        observe("w", 0.0)

    def guide():
        bernoulli("a")
        bernoulli("b")

    found = analyse(model, guide).model
    assert {name: set(site.factor_depends_on) for name, site in found.items()} == {
        "a": {"a"},
        "b": {"b"},
        "x": {"a"},
        # After the read: on another value of b the program might have looked at a.
        "y": {"a", "b"},
        "w": {"a", "b"},
    }


def test_the_way_not_taken_counts_as_dependence():
    """SEMANTICS 11: the sites are the same whatever a is, and yet x looks at b in one case and at c in the other."""

    def model():
        a, b, c = bernoulli("a"), bernoulli("b"), bernoulli("c")
        observe("x", b if a > 0 else c)

    def guide():
        for name in "abc":
            bernoulli(name)

    assert set(analyse(model, guide).model["x"].factor_depends_on) == {"a", "b", "c"}


def test_a_value_that_is_no_tensor_counts_as_read():
    class Word:
        """A distribution over words, as a third party might write one."""

        has_rsample = False
        batch_shape = event_shape = torch.Size()

        def sample(self, sample_shape=()):
            return "yes"

        def __call__(self):
            return self.sample()

        def log_prob(self, value):
            return ZERO

        def expand(self, shape):
            return self

    def program():
        word = aleator.sample("word", Word())
        observe("x", 1.0 if word == "yes" else 0.0)

    found = analyse(program, lambda: aleator.sample("word", Word()))
    assert set(found.model["x"].factor_depends_on) == {"word"}


def test_dependence_through_scale_and_mask():
    def model():
        a, b = bernoulli("a"), bernoulli("b")
        with handlers.scale(scale=1.0 + a):
            observe("x", 0.0)
        with handlers.mask(mask=b > 0):
            observe("y", 0.0)

    def guide():
        bernoulli("a")
        bernoulli("b")

    found = analyse(model, guide).model
    assert set(found["x"].factor_depends_on) == {"a"}
    assert set(found["y"].factor_depends_on) == {"b"}


def test_a_draw_reaches_what_later_draws_reach():
    """A v-structure over a chain: a -> b, (a, c) -> x, b -> y in the guide's and the model's terms together."""

    def model():
        a, b, c = bernoulli("a"), bernoulli("b"), bernoulli("c")
        observe("x", a + c)
        observe("y", b)
        observe("alone", 0.0)

    def guide():
        a = bernoulli("a")
        z = aleator.sample("z", dist.Normal(a, 1.0), infer={"is_auxiliary": True})
        bernoulli("b", z)
        bernoulli("c")

    reaches = {name: (set(r.model), set(r.guide)) for name, r in _reaches(model, guide).items()}
    assert reaches == {
        "a": ({"a", "x", "b", "y"}, {"a", "z", "b"}),
        "z": ({"b", "y"}, {"z", "b"}),
        "b": ({"b", "y"}, {"b"}),
        "c": ({"c", "x"}, {"c"}),
    }


def _reaches(model, guide):
    return {name: site.reaches for name, site in analyse(model, guide).guide.items()}


def test_a_score_factor_of_the_guide_ties_its_draws_together():
    """The factor says that a and b follow another law than the one drawn from: under it they are not independent."""

    def model():
        observe("x", bernoulli("a"))
        observe("y", bernoulli("b"))
        observe("w", bernoulli("c"))

    def guide():
        a, b = bernoulli("a"), bernoulli("b")
        aleator.factor("tie", a * b, has_rsample=False)
        bernoulli("c")

    reaches = _reaches(model, guide)
    for name in ("a", "b", "tie"):
        assert set(reaches[name].model) == {"a", "x", "b", "y"}
    assert set(reaches["c"].model) == {"c", "w"}


def test_minibatches_are_no_sources():
    """SEMANTICS 12: subsample sites are excluded, also where a loop reads their indices on the host."""

    def model():
        for turn, row in enumerate(aleator.plate("data", 4, subsample_size=2)):
            z = bernoulli(f"z_{turn}")
            observe(f"x_{turn}", z * row)

    def guide():
        for turn, _ in enumerate(aleator.plate("data", 4, subsample_size=2)):
            bernoulli(f"z_{turn}")

    found = analyse(model, guide).model
    assert {name: set(site.factor_depends_on) for name, site in found.items()} == {
        "z_0": {"z_0"},
        "x_0": {"z_0"},
        "z_1": {"z_1"},
        "x_1": {"z_1"},
    }


def three_bits():
    return [bernoulli(f"z{index}") for index in range(3)]


def looking_at(which):
    def model():
        observe("x", three_bits()[which])

    return model


def looking_through_a_list(which):
    parents = [which]

    def model():
        observe("x", three_bits()[parents[0]])

    return model


class LookingAt:
    def __init__(self, which):
        self.which = which

    def model(self):
        observe("x", three_bits()[self.which])

    def __call__(self):
        self.model()


def bound(which):
    return LookingAt(which).model


def by_default(which):
    return lambda which=which: observe("x", three_bits()[which])


def partially(which):
    return partial(lambda which: observe("x", three_bits()[which]), which)


def of_a_notebook(which):
    names = {"observe": observe, "three_bits": three_bits, "which": which}
    exec("def model():\n    observe('x', three_bits()[which])", names)
    return names["model"]


@pytest.mark.parametrize(
    "make",
    [looking_at, looking_through_a_list, LookingAt, bound, by_default, partially, of_a_notebook],
    ids=lambda make: make.__name__,
)
def test_a_program_at_the_address_of_one_that_is_gone_is_another(make):
    """Same code, sites and shapes, and other dependence: addresses are used again, and tell nothing."""
    for which in (0, 1, 2, 0):
        model = make(which)
        assert set(analyse(model, three_bits).model["x"].factor_depends_on) == {f"z{which}"}
        del model


def test_programs_made_anew_for_each_step_are_one_program():
    """A lambda around a program, with the data of the step in its closure, is not analysed again at each step."""
    calls = Calls()

    def inner(data):
        calls.number += 1
        observe("x", three_bits()[0] + data)

    for step in range(5):
        data = torch.tensor(float(step))
        analyse(lambda data=data: inner(data), lambda: three_bits())
        analyse(lambda: inner(data), three_bits)  # noqa: B023  # called before the next turn
        analyse(partial(inner, data), three_bits)
    assert calls.number == 3


class Calls:
    number = 0


CALLS: list[str] = []


def two_ways_model():
    CALLS.append("model")
    if bernoulli("a") > 0:
        observe("x", bernoulli("b"))


def two_ways_guide():
    CALLS.append("guide")
    if bernoulli("a") > 0:
        bernoulli("b")


def test_a_program_with_two_ways_is_analysed_twice():
    """Alternating structures do not push each other out: one analysis for each, however often they alternate."""
    runs = 0
    aleator.set_rng_seed(0)
    del CALLS[:]
    seen = set()
    for _ in range(40):
        guide_trace = handlers.trace(two_ways_guide).get_trace()
        model_trace = handlers.trace(handlers.replay(two_ways_model, trace=guide_trace)).get_trace()
        runs += 1
        structure = annotate(two_ways_model, two_ways_guide, (), {}, model_trace, guide_trace)
        assert structure.describes(model_trace, guide_trace)
        assert model_trace.nodes["a"].stash[SITE_STRUCTURE] is structure.model["a"]
        seen.add(len(structure.guide))
    assert seen == {1, 2}
    assert CALLS.count("guide") - runs <= 2


def test_two_analyses_at_most_leave_the_stream_alone():
    """SEMANTICS 7: an analysis that ``annotate`` asks for draws nothing from the program's stream either."""
    guide_trace = handlers.trace(two_ways_guide).get_trace()
    model_trace = handlers.trace(handlers.replay(two_ways_model, trace=guide_trace)).get_trace()

    def fresh_guide():
        return two_ways_guide()

    aleator.set_rng_seed(3)
    expected = torch.randn(2)
    aleator.set_rng_seed(3)
    annotate(two_ways_model, fresh_guide, (), {}, model_trace, guide_trace)
    assert torch.equal(torch.randn(2), expected)
