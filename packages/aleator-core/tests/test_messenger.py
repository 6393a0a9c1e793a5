"""The base of every handler."""

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator import handlers
from aleator.handlers import Messenger
from aleator.messenger import Handled
from aleator.runtime import RUN, STACK


def test_it_is_abstract():
    """DESIGN 2, 3."""
    with pytest.raises(TypeError, match=r"Messenger is abstract: .*process_<type>"):
        Messenger()


def test_a_misspelt_method_is_refused_where_it_is_written():
    with pytest.raises(
        TypeError, match=r"Odd\.process_smaple: sites have the types sample, param, subsample, plate, markov"
    ):
        type("Odd", (Messenger,), {"process_smaple": lambda self, site: None})
    with pytest.raises(TypeError, match=r"Odd\.postprocess_obs"):
        type("Odd", (Messenger,), {"postprocess_obs": lambda self, site: None})


def test_methods_are_inherited():
    class Double(Messenger):
        def postprocess_sample(self, site):
            site.value = 2 * site.value

    class DoubleAndNote(Double):
        def process_sample(self, site):
            site.infer["obs"] = "noted"

    with handlers.trace() as trace, DoubleAndNote():
        assert aleator.sample("x", dist.Delta(torch.tensor(3.0))) == 6.0
    assert trace.nodes["x"].infer == {"obs": "noted"}


def test_every_type_has_its_method():
    seen = []

    class All(Messenger):
        def process_sample(self, site):
            seen.append(site.type)

        process_param = process_subsample = process_plate = process_markov = process_sample

    with aleator.ParamStore(), All():
        aleator.param("a", torch.tensor(1.0))
        with aleator.plate("data", 2):
            aleator.sample("x", dist.Normal(0.0, 1.0))
        for _ in aleator.markov(range(1)):
            pass
    assert seen == ["param", "subsample", "plate", "sample", "markov"]


def test_one_object_may_be_entered_again():
    class Count(Messenger):
        def process_sample(self, site):
            site.scale = site.scale * 2

    count = Count()
    with handlers.trace() as trace, count:
        aleator.sample("x", dist.Normal(0.0, 1.0))
        with count:
            aleator.sample("y", dist.Normal(0.0, 1.0))
        aleator.sample("z", dist.Normal(0.0, 1.0))
    assert [trace.nodes[name].scale for name in "xyz"] == [2, 4, 2]


def test_what_an_error_left_above_goes_with_the_handler():
    """SEMANTICS 76: a handler that was entered by hand and never left."""
    with handlers.trace():
        handlers.scale(scale=2.0).__enter__()
        assert len(STACK.get()) == 2
    assert (STACK.get(), RUN.get()) == ((), None)


def test_leaving_twice_does_no_harm():
    handler = handlers.scale(scale=2.0)
    with handlers.trace() as trace:
        with handler:
            pass
        handler.__exit__(None, None, None)
        aleator.sample("x", dist.Normal(0.0, 1.0))
    assert trace.stochastic_nodes == ["x"]


def test_an_entry_of_its_own_for_a_handler_with_notes():
    """A handler that notes something about a run answers `begin` by a new one: `end` sees that one's notes only."""
    ended = []

    class Names(Messenger):
        def __init__(self):
            self.names = []

        def begin(self):
            return Names()

        def process_sample(self, site):
            self.names.append(site.name)

        def end(self):
            ended.append(self.names)

    names = Names()
    with names:
        aleator.sample("x", dist.Normal(0.0, 1.0))
        with names:
            aleator.sample("y", dist.Normal(0.0, 1.0))
    assert ended == [["y"], ["x", "y"]]
    assert names.names == []


def test_end_is_not_called_after_an_error():
    class Ending(Messenger):
        def end(self):
            raise AssertionError("called")

    with pytest.raises(KeyError, match="mine"), Ending():
        raise KeyError("mine")


def test_a_handled_function_shows_what_it_is_made_of():
    def model():
        """Says."""

    handler = handlers.scale(scale=2.0)
    handled = handler(model)
    assert isinstance(handled, Handled)
    assert (handled.fn, handled.messenger) == (model, handler)
    assert (handled.__name__, handled.__doc__, handled.__wrapped__) == ("model", "Says.", model)
    with pytest.raises(TypeError, match="ScaleMessenger expects a function to handle, but found 3"):
        handler(3)
