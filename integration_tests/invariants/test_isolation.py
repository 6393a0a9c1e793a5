"""What belongs to one run never shows in another: stores, estimators, threads, tasks; and order does not matter."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor

import torch

import aleator
import aleator.distributions as dist
from aleator import handlers
from aleator.infer import SVI, Trace_ELBO
from aleator.optim import Adam

DATA = torch.tensor([0.5, 1.5, -0.3])


def model(data):
    loc = aleator.sample("loc", dist.Normal(0.0, 3.0))
    switch = aleator.sample("switch", dist.Bernoulli(torch.tensor(0.4)))
    with aleator.plate("data", 3):
        aleator.sample("x", dist.Normal(loc + switch, 1.0), obs=data)


def guide(data):
    loc = aleator.param("loc_loc", torch.tensor(0.0))
    scale = aleator.param("loc_scale", torch.tensor(1.0), constraint=dist.constraints.positive)
    aleator.sample("loc", dist.Normal(loc, scale))
    aleator.sample("switch", dist.Bernoulli(logits=aleator.param("logit", torch.tensor(0.0))))


ELBO, ADAM = Trace_ELBO(num_particles=2), Adam(lr=0.05)  # one estimator and one optimizer serve every run


def train(seed: int, steps: int = 12) -> list[float]:
    with aleator.ParamStore():
        svi = SVI(model, guide, ADAM, ELBO, rng=seed, progress=False)
        return [svi.step(DATA) for _ in range(steps)]


def test_eight_threads_equal_their_single_runs_bit_for_bit():
    """SEMANTICS 80: catches a shared stack, store, generator, or estimator that keeps something."""
    alone = [train(seed) for seed in range(8)]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(train, range(8)))
    assert together == alone
    assert len({tuple(losses) for losses in alone}) == 8


def test_tasks_that_take_turns_do_not_meet():
    """SEMANTICS 80: two trainings as asyncio tasks, each step followed by a switch."""

    async def task(seed: int) -> list[float]:
        losses = []
        with aleator.ParamStore():
            svi = SVI(model, guide, ADAM, ELBO, rng=seed, progress=False)
            for _ in range(6):
                losses.append(svi.step(DATA))
                await asyncio.sleep(0)
        return losses

    async def both() -> list[list[float]]:
        return await asyncio.gather(task(1), task(2))

    assert asyncio.run(both()) == [train(1, 6), train(2, 6)]


def test_interleaved_runs_on_two_stores():
    """SEMANTICS 80: two runs, one estimator object, one optimizer object."""
    stores = [aleator.ParamStore(), aleator.ParamStore()]
    runs = [SVI(model, guide, ADAM, ELBO, rng=seed, progress=False) for seed in (3, 4)]
    losses: list[list[float]] = [[], []]
    for _ in range(5):
        for store, run, found in zip(stores, runs, losses, strict=True):
            with store:
                found.append(run.step(DATA))
    assert losses == [train(3, 5), train(4, 5)]
    assert not aleator.get_param_store().keys() & stores[0].keys()


def test_order_of_handlers_construction_does_not_matter():
    """SEMANTICS 77: what counts is which handler is entered first."""

    def weigh(first_scale: bool) -> float:
        if first_scale:
            scaled, masked = handlers.scale(scale=2.0), handlers.mask(mask=torch.tensor([True, False, True]))
        else:
            masked, scaled = handlers.mask(mask=torch.tensor([True, False, True])), handlers.scale(scale=2.0)
        with handlers.trace() as trace, scaled, masked, aleator.plate("p", 3):
            aleator.sample("x", dist.Normal(0.0, 1.0), obs=DATA)
        return float(trace.log_prob_sum())

    assert weigh(True) == weigh(False)


def test_order_of_independent_sites_does_not_matter():
    """SEMANTICS 77: the loss of the same draws, whichever site comes first."""
    values = {"a": torch.tensor(0.3), "b": torch.tensor(-1.2)}

    def program(order: str):
        def run():
            for name in order:
                aleator.sample(name, dist.Normal(0.0, 1.0 + (name == "b")))

        return run

    class Fixed(handlers.Messenger):
        def process_sample(self, site):
            site.value = values[site.name]

    def flat_guide():
        for name in "ab":
            aleator.sample(name, dist.Normal(0.5, 1.0))

    with Fixed():
        losses = [Trace_ELBO().loss(program(order), flat_guide) for order in ("ab", "ba")]
    assert abs(losses[0] - losses[1]) < 1e-6
