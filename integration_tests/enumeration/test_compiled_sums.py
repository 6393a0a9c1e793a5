"""Steps with sums over discrete sites, recorded and played again."""

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator.distributions import constraints
from aleator.infer import TraceEnum_ELBO, compile, config_enumerate, functional
from aleator.optim import Adam

STATES, STEPS, SEQUENCES = 3, 6, 4


@config_enumerate
def chain(data):
    transition = aleator.param("transition", torch.full((STATES, STATES), 1 / STATES), constraint=constraints.simplex)
    locs = aleator.param("locs", torch.linspace(-2.0, 2.0, STATES))
    state = None
    with aleator.plate("sequences", SEQUENCES):
        for t in aleator.markov(range(STEPS)):
            law = dist.Categorical(transition[0] if state is None else transition[state])
            state = aleator.sample(f"state_{t}", law)
            aleator.sample(f"datum_{t}", dist.Normal(locs[state], 1.0), obs=data[t])


@config_enumerate
def mixture(data):
    weights = aleator.param("weights", torch.full((STATES,), 1 / STATES), constraint=constraints.simplex)
    locs = aleator.param("locs", torch.linspace(-2.0, 2.0, STATES))
    with aleator.plate("sequences", SEQUENCES):
        z = aleator.sample("z", dist.Categorical(weights))
        with aleator.plate("steps", STEPS):
            aleator.sample("x", dist.Normal(locs[z], 1.0), obs=data)


def guide(data):
    """Everything is summed out."""


def losses(svi, batches):
    state, _ = svi.init(0, (batches[0],), (batches[0],))
    found = []
    for batch in batches:
        state, loss = svi.update(state, (batch,), (batch,))
        found.append(loss.item())
    return found


@pytest.mark.parametrize("model", [chain, mixture], ids=["chain", "mixture"])
def test_a_recorded_step_gives_the_losses_of_a_plain_one(model):
    """SEMANTICS 77: on other data than it was recorded on, and without a word about what could not be recorded."""
    batches = [torch.randn(STEPS, SEQUENCES, generator=torch.Generator().manual_seed(seed)) for seed in range(4)]
    made = functional.SVI(model, guide, TraceEnum_ELBO(max_plate_nesting=2), Adam(lr=0.05))
    assert losses(compile(made, backend="eager"), batches) == pytest.approx(losses(made, batches), rel=1e-5)
