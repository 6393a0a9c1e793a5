"""The way of a site through the handlers, and the run around it."""

import asyncio
import threading

import pytest
import torch
from torch.distributions import Normal

import aleator
import aleator.distributions as dist
from aleator import handlers
from aleator.errors import ParameterError
from aleator.handlers import Messenger
from aleator.runtime import RUN, STACK, Run, apply_stack
from aleator.sites import Site
from aleator.validation import PENDING, PendingChecks


class Log(Messenger):
    """Writes down what passes it, and, where it is told to, stops it or gives it a value."""

    def __init__(self, label, log, stop=False, value=None):
        self.label, self.log, self.stop, self.value = label, log, stop, value

    def process_sample(self, site):
        self.log.append(f"{self.label}>")
        site.stop = site.stop or self.stop
        if self.value is not None:
            site.value = self.value

    def postprocess_sample(self, site):
        self.log.append(f"<{self.label}")


def test_out_from_the_innermost_and_back_from_the_outermost():
    """SEMANTICS 66."""
    log = []
    with Log("outer", log), Log("middle", log), Log("inner", log):
        aleator.sample("x", dist.Normal(0.0, 1.0))
    assert log == ["inner>", "middle>", "outer>", "<outer", "<middle", "<inner"]


def test_back_from_the_outermost_that_saw_the_site():
    """SEMANTICS 66: a handler that stops a site still postprocesses it; those further out never see it."""
    log = []
    with Log("outer", log), Log("middle", log, stop=True), Log("inner", log):
        aleator.sample("x", dist.Normal(0.0, 1.0))
    assert log == ["inner>", "middle>", "<middle", "<inner"]


def test_a_value_that_is_set_is_never_drawn_again():
    """SEMANTICS 66."""
    value = torch.tensor(7.0)

    class Drawn(dist.Delta):
        def sample(self, sample_shape=()):
            raise AssertionError("drawn")

        rsample = sample

    with Log("outer", []), Log("inner", [], value=value):
        assert aleator.sample("x", Drawn(torch.tensor(1.0))) is value


def test_a_handler_may_change_the_type():
    """A parameter that becomes a sample site goes on as one, further out and on the way back."""
    log = []

    class Lift(Messenger):
        def process_param(self, site):
            site.type, site.fn, site.args, site.kwargs = "sample", dist.Normal(0.0, 1.0), (), None

    with Log("outer", log), Lift(), Log("inner", log):
        aleator.param("a", torch.tensor(1.0))
    assert log == ["outer>", "<outer", "<inner"]


def test_without_handlers_a_site_has_its_default():
    assert apply_stack(Site("param", "a", lambda: 3)) == 3
    assert aleator.sample("x", dist.Delta(torch.tensor(2.0))) == 2.0
    assert RUN.get() is None


def test_a_run_lasts_as_long_as_the_outermost_handler():
    assert RUN.get() is None
    with handlers.trace():
        run = RUN.get()
        assert PENDING.get() is run.checks
        with handlers.scale(scale=2.0):
            assert RUN.get() is run
        assert RUN.get() is run
    assert RUN.get() is None
    assert PENDING.get() is None


def test_a_run_inside_a_run_shares_notes_and_adds_dims():
    with Run() as outer:
        outer.reserved[-1] = "mine"
        with Run() as inner:
            assert inner.checks is outer.checks
            assert inner.reserved == {-1: "mine"}
            inner.reserved[-2] = "other"
        assert outer.reserved == {-1: "mine"}
        with Run(checks=PendingChecks(keep=False)) as silent:
            assert PENDING.get() is silent.checks
        assert PENDING.get() is outer.checks


def test_what_is_to_be_done_at_the_end_is_done_last_first_also_after_an_error():
    """SEMANTICS 76."""
    done = []

    def fails():
        with handlers.trace():
            RUN.get().at_end.append(lambda: done.append(1))
            RUN.get().at_end.append(lambda: done.append(2))
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        fails()
    assert done == [2, 1]


PLACES = [
    f"{prefix}{kind}" for prefix in ("process_", "postprocess_") for kind in ("sample", "param", "subsample", "plate")
]


def exploding(place):
    return type("Explode", (Messenger,), {place: lambda self, site: (_ for _ in ()).throw(KeyError(f"at {place}"))})()


def everything():
    aleator.param("p", torch.tensor(1.0))
    with aleator.plate("data", 3):
        aleator.sample("x", Normal(0.0, 1.0))
    for t in aleator.markov(range(2)):
        aleator.sample(f"y_{t}", Normal(0.0, 1.0))


@pytest.mark.parametrize("place", [*PLACES, "process_markov", "postprocess_markov"])
def test_an_error_at_any_place_leaves_everything_clean(place):
    """SEMANTICS 76: handlers that raise, further in and further out than others, with the traceback kept."""
    with aleator.ParamStore():
        for around in ((handlers.trace(), exploding(place)), (exploding(place), handlers.trace())):
            with pytest.raises(KeyError, match=f"at {place}") as kept, around[0], around[1]:
                everything()
            assert STACK.get() == ()
            assert RUN.get() is None
            assert PENDING.get() is None
            assert kept.tb is not None
        with handlers.trace() as trace:
            everything()
        assert trace.stochastic_nodes == ["x", "y_0", "y_1"]


def test_an_error_in_a_distribution_leaves_everything_clean():
    """SEMANTICS 76."""

    class Broken(dist.Delta):
        def rsample(self, sample_shape=()):
            raise KeyError("drawing")

    with pytest.raises(KeyError, match="drawing"), handlers.trace(), aleator.plate("data", 2):
        aleator.sample("x", Broken(torch.zeros(2)))
    assert (STACK.get(), RUN.get()) == ((), None)


def test_an_error_at_the_end_of_a_run_leaves_everything_clean():
    """SEMANTICS 76: the check of the notes raises while handlers are being left."""
    with pytest.raises(ParameterError, match="site 'x'"), handlers.trace(), handlers.scale(scale=2.0):
        aleator.sample("x", dist.Normal(0.0, torch.tensor(-1.0)))
    assert (STACK.get(), RUN.get(), PENDING.get()) == ((), None, None)


def test_an_error_of_the_program_is_not_replaced_by_a_check():
    def fails():
        aleator.sample("x", dist.Normal(0.0, torch.tensor(-1.0)))
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"), handlers.trace():
        fails()


def test_a_warning_that_is_an_error_leaves_everything_clean():
    """SEMANTICS 76: `condition` warns when it is left."""
    with pytest.raises(UserWarning, match="no site 'a'"), handlers.condition(data={"a": 1.0}):
        pass
    assert (STACK.get(), RUN.get()) == ((), None)


def seeded_run(k):
    def model():
        total = aleator.sample("z", dist.Normal(0.0, 1.0).expand([50]).to_event(1)).sum()
        with aleator.plate("data", 20, subsample_size=7) as indices:
            total = total + aleator.sample("x", dist.Gamma(2.0, 1.0)).sum() + indices.float().sum()
        for t in aleator.markov(range(5)):
            total = total + aleator.sample(f"b_{t}", dist.Bernoulli(0.5)) + aleator.sample(f"n_{t}", Normal(0.0, 1.0))
        return (
            total + torch.stack([aleator.sample(f"c_{i}", dist.Poisson(3.0)) for i in aleator.plate("loop", 3)]).sum()
        )

    with aleator.rng(k):
        traces = [handlers.trace(model).get_trace() for _ in range(5)]
    return torch.stack([torch.stack([trace.nodes["_RETURN"].value, trace.log_prob_sum()]) for trace in traces])


def test_eight_threads_draw_what_each_draws_alone():
    """DESIGN 2, 6 and 3: seeded runs in eight threads equal their single runs bit for bit."""
    alone = [seeded_run(k) for k in range(8)]
    together, barrier = {}, threading.Barrier(8)

    def work(k):
        barrier.wait()
        together[k] = seeded_run(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k in range(8):
        assert torch.equal(alone[k], together[k])


def test_a_thread_starts_with_an_empty_stack():
    """DESIGN 2, 6."""
    seen = {}

    def work():
        seen.update(stack=STACK.get(), run=RUN.get())
        aleator.sample("x", dist.Normal(0.0, 1.0))

    with handlers.trace() as trace:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert seen == {"stack": (), "run": None}
    assert trace.stochastic_nodes == []


def test_tasks_do_not_meet():
    """DESIGN 2, 6: asyncio tasks that take turns inside their handlers."""

    async def task(k):
        with handlers.trace() as trace, handlers.scale(scale=float(k + 1)), aleator.plate(f"plate_{k}", k + 1):
            for t in range(3):
                await asyncio.sleep(0)
                aleator.sample(f"x_{k}_{t}", dist.Normal(0.0, 1.0))
        return trace

    async def tasks():
        return await asyncio.gather(*(task(k) for k in range(5)))

    for k, trace in enumerate(asyncio.run(tasks())):
        assert trace.stochastic_nodes == [f"x_{k}_{t}" for t in range(3)]
        for name in trace.stochastic_nodes:
            assert trace.nodes[name].scale == k + 1
            assert trace.nodes[name].value.shape == (k + 1,)
            assert [frame.name for frame in trace.nodes[name].frames] == [f"plate_{k}"]


def test_a_task_inherits_the_handlers_around_its_creation():
    async def child():
        return aleator.sample("x", dist.Normal(0.0, 1.0))

    async def parent():
        with handlers.trace() as trace:
            await asyncio.create_task(child())
        return trace

    assert asyncio.run(parent()).stochastic_nodes == ["x"]
