import gc
import weakref

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator import handlers
from aleator_posterior import Draws, EmpiricalMarginal, Marginals, TracePosterior


def model():
    z = aleator.sample("z", dist.Normal(0.0, 1.0))
    aleator.sample("x", dist.Normal(z, 1.0), obs=torch.tensor(1.0))
    aleator.deterministic("twice", 2 * z)
    return z


class FromThePrior(TracePosterior):
    """Importance sampling, one trace at a time, the prior as proposal."""

    def __init__(self, count, num_chains=1):
        super().__init__(num_chains)
        self.count = count

    def _traces(self, *args, **kwargs):
        with torch.no_grad():
            for _ in range(self.count):
                trace = handlers.trace(model).get_trace(*args, **kwargs)
                yield trace, trace.log_prob_sum(lambda name, site: site.is_observed)


class Batches(TracePosterior):
    def _traces(self, *batches):
        yield from batches


def test_run_returns_itself_with_one_draw_per_trace():
    posterior = FromThePrior(6)
    assert posterior.run() is posterior
    assert len(posterior.exec_traces) == len(posterior.draws) == 6
    z = posterior.draws.values["z"]
    torch.testing.assert_close(posterior.log_weights, dist.Normal(z, 1.0).log_prob(torch.tensor(1.0)))
    assert torch.equal(posterior.exec_traces[4].nodes["z"].value, z[4])
    assert posterior.chain_ids.tolist() == [0] * 6


def test_importance_weights_give_the_exact_posterior_mean():
    """The posterior is Normal(1/2, sqrt(1/2)); 0.03 is over four standard errors. A twin without weights gives 0."""
    with aleator.rng(3):
        z = dist.Normal(0.0, 1.0).expand([20000]).sample()
    posterior = Batches().run(Draws({"z": z}, dist.Normal(z, 1.0).log_prob(torch.tensor(1.0))))
    assert EmpiricalMarginal(posterior, "z").mean.item() == pytest.approx(0.5, abs=0.03)
    assert EmpiricalMarginal(posterior, "z").variance.item() == pytest.approx(0.5, abs=0.03)
    assert EmpiricalMarginal(Batches().run(Draws({"z": z})), "z").mean.item() == pytest.approx(0.0, abs=0.03)


def test_chains_run_one_after_the_other_each_with_its_number():
    posterior = FromThePrior(3, num_chains=2).run()
    assert posterior.chain_ids.tolist() == [0, 0, 0, 1, 1, 1]
    assert posterior.marginal("z").empirical["z"].batch_shape == (2,)
    mixed = Batches(num_chains=2).run(Draws({"z": torch.zeros(2)}, chain_ids=torch.tensor([7, 8])))
    assert mixed.chain_ids.tolist() == [0, 0, 1, 1]


def test_a_run_replaces_the_draws_of_an_earlier_one_unless_the_subclass_retains_them():
    posterior = Batches().run(Draws({"z": torch.zeros(2)}))
    assert posterior.run(Draws({"z": torch.ones(3)})).draws.values["z"].tolist() == [1.0] * 3

    class Continuing(Batches):
        def _retain(self, former, new):
            return new if former is None else Draws.concatenate([former, new])

    continuing = Continuing().run(Draws({"z": torch.zeros(2)})).run(Draws({"z": torch.ones(1)}))
    assert continuing.draws.values["z"].tolist() == [0.0, 0.0, 1.0]


def test_a_run_that_raises_leaves_the_former_draws_the_stack_and_the_gradient_switch():
    class Breaking(TracePosterior):
        def _traces(self, item):
            with torch.no_grad(), handlers.block():
                yield Draws({"z": torch.zeros(1)})
                yield item

    posterior = Breaking().run(Draws({"z": torch.ones(1)}))
    held = []  # keeps the traceback, and with it the frame, alive: only an explicit close puts things back
    for item, words in ((None, "NoneType"), ((torch.zeros(()), 0.0), "tuple"), ("ab", "str")):
        with pytest.raises(TypeError, match=f"Breaking._traces must yield pairs .* but yielded {words}") as caught:
            posterior.run(item)
        held.append(caught)
        assert torch.is_grad_enabled()
        with handlers.trace() as trace:
            aleator.sample("seen", dist.Normal(0.0, 1.0))
        assert "seen" in trace
    assert posterior.draws.values["z"].tolist() == [0.0, 1.0]


def test_before_the_first_run_there_are_no_draws_to_read():
    posterior = FromThePrior(1)
    for read in ("draws", "exec_traces", "log_weights", "chain_ids"):
        with pytest.raises(RuntimeError, match=r"FromThePrior has no draws yet; call its run\(...\) first"):
            getattr(posterior, read)


def test_a_run_of_no_draws():
    posterior = FromThePrior(0).run()
    assert len(posterior.exec_traces) == 0
    with pytest.raises(ValueError, match="FromThePrior has no draws to choose from"):
        posterior()


def test_calling_draws_a_trace_without_observed_and_deterministic_sites():
    posterior = FromThePrior(5).run()
    trace = posterior("any", arguments=1)
    assert list(trace) == ["z", "_RETURN"]
    assert bool((posterior.draws.values["z"] == trace.nodes["z"].value).any())
    assert "x" in posterior.exec_traces[0], "the stored draws keep what a call drops"
    again = handlers.trace(handlers.replay(model, trace=trace)).get_trace()
    assert torch.equal(again.nodes["twice"].value, 2 * trace.nodes["z"].value)


# The 0.999 quantile of chi-square with 2 degrees of freedom is -2 log 0.001.
CHI_SQUARE_2 = 13.816


def test_calls_come_by_weight():
    """Weights 1 : 2 : 5 over two chains; a twin without weights is beyond every doubt."""
    weights = torch.tensor([1.0, 2.0, 5.0])

    def statistic(log_weights):
        posterior = Batches().run(Draws({"k": torch.tensor([0, 1, 2])}, log_weights))
        with aleator.rng(11):
            counts = torch.bincount(torch.stack([posterior().nodes["k"].value for _ in range(1600)]), minlength=3)
        expected = 1600 * weights / weights.sum()
        return float(((counts - expected) ** 2 / expected).sum())

    assert statistic(weights.log() - 100.0) < CHI_SQUARE_2
    assert statistic(torch.zeros(3)) > 10 * CHI_SQUARE_2


def test_a_draw_without_weight_is_never_chosen_and_no_weight_at_all_raises():
    minus_infinity = -float("inf")
    posterior = Batches().run(Draws({"k": torch.tensor([0, 1])}, torch.tensor([minus_infinity, -3.0])))
    assert {int(posterior().nodes["k"].value) for _ in range(50)} == {1}
    with pytest.raises(ValueError, match="-inf"):
        Batches().run(Draws({"k": torch.tensor([0, 1])}, torch.full((2,), minus_infinity)))()


def test_calls_draw_from_the_context_s_source():
    posterior = FromThePrior(50).run()

    def chosen():
        with aleator.rng(5):
            return [posterior().nodes["z"].value.item() for _ in range(5)]

    state = torch.get_rng_state()
    assert chosen() == chosen()
    assert torch.equal(torch.get_rng_state(), state)


def test_traces_are_let_go_while_a_run_goes_on():
    alive = []

    class Watched(TracePosterior):
        def _traces(self):
            for _ in range(5):
                trace = handlers.trace(model).get_trace()
                alive.append(weakref.ref(trace))
                yield trace, 0.0
                del trace
                gc.collect()
                assert sum(ref() is not None for ref in alive) <= 1

    Watched().run()
    gc.collect()
    assert not any(ref() for ref in alive)


def test_marginal_gives_marginals():
    posterior = FromThePrior(4).run()
    assert isinstance(posterior.marginal(), Marginals)
    assert list(posterior.marginal().empirical) == ["_RETURN"]
    assert list(posterior.marginal(["z", "x"]).empirical) == ["z", "x"]


@pytest.mark.parametrize("num_chains", [0, -1, 1.5, True, "2"])
def test_num_chains_is_a_positive_int(num_chains):
    with pytest.raises(ValueError, match="Batches: num_chains must be a positive int"):
        Batches(num_chains)


def test_it_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        TracePosterior()
