"""Plates as loop and as block, one inside the other, whole and subsampled: one density, however it is written."""

from itertools import combinations, product

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator import handlers

ROWS, COLUMNS = 3, 4
DATA = torch.linspace(-1.0, 2.0, ROWS * COLUMNS).reshape(ROWS, COLUMNS)
LOCS = torch.tensor([[0.3], [-0.5], [1.1]])


def vectorized(rows, columns):
    with aleator.plate("rows", ROWS, subsample=rows, dim=-2) as i:
        loc = aleator.sample("loc", dist.Normal(0.0, 1.0), obs=LOCS[i])
        with aleator.plate("columns", COLUMNS, subsample=columns, dim=-1) as j:
            aleator.sample("x", dist.Normal(loc, 0.5), obs=DATA[i][:, j])


def sequential(rows, columns):
    inner = aleator.plate("columns", COLUMNS, subsample=columns)
    for i in aleator.plate("rows", ROWS, subsample=rows):
        loc = aleator.sample(f"loc_{i}", dist.Normal(0.0, 1.0), obs=LOCS[i, 0])
        for j in inner:
            aleator.sample(f"x_{i}_{j}", dist.Normal(loc, 0.5), obs=DATA[i, j])


def block_in_loop(rows, columns):
    inner = aleator.plate("columns", COLUMNS, subsample=columns)
    for i in aleator.plate("rows", ROWS, subsample=rows):
        loc = aleator.sample(f"loc_{i}", dist.Normal(0.0, 1.0), obs=LOCS[i, 0])
        with inner as j:
            aleator.sample(f"x_{i}", dist.Normal(loc, 0.5), obs=DATA[i, j])


def loop_in_block(rows, columns):
    with aleator.plate("rows", ROWS, subsample=rows) as i:
        loc = aleator.sample("loc", dist.Normal(0.0, 1.0), obs=LOCS[i, 0])
        for j in aleator.plate("columns", COLUMNS, subsample=columns):
            aleator.sample(f"x_{j}", dist.Normal(loc, 0.5), obs=DATA[i, j])


PROGRAMS = [vectorized, sequential, block_in_loop, loop_in_block]


def density(program, rows=None, columns=None):
    return handlers.trace(program).get_trace(rows, columns).log_prob_sum()


def full():
    return dist.Normal(0.0, 1.0).log_prob(LOCS).sum() + dist.Normal(LOCS, 0.5).log_prob(DATA).sum()


@pytest.mark.parametrize("program", PROGRAMS)
def test_every_form_has_the_same_density(program):
    """SEMANTICS 77: vectorized == looped."""
    torch.testing.assert_close(density(program), full())


@pytest.mark.parametrize("program", PROGRAMS)
def test_nested_subsamples_average_to_the_whole(program):
    """SEMANTICS 73, 77: over all pairs of subsets of rows and columns."""
    subsets = list(product(combinations(range(ROWS), 2), combinations(range(COLUMNS), 3)))
    mean = sum(density(program, list(rows), list(columns)) for rows, columns in subsets) / len(subsets)
    torch.testing.assert_close(mean, full())


@pytest.mark.parametrize("program", PROGRAMS)
def test_a_subsample_counts_alike_in_every_form(program):
    torch.testing.assert_close(density(program, [2, 0], [1, 3]), density(vectorized, [2, 0], [1, 3]))


def test_local_draws_of_a_minibatch():
    """Each element has a latent of its own; the guide's minibatch is the model's."""
    data = torch.arange(100.0)

    def model():
        with aleator.plate("data", 100, subsample_size=10):
            batch = aleator.subsample(data, event_dim=0)
            z = aleator.sample("z", dist.Normal(batch, 1e-3))
            aleator.sample("x", dist.Normal(z, 1.0), obs=batch)
            return batch

    def guide():
        with aleator.plate("data", 100, subsample_size=10):
            aleator.sample("z", dist.Normal(aleator.param("locs", data, event_dim=0), 1e-3))

    guide_trace = handlers.trace(guide).get_trace()
    model_trace = handlers.trace(handlers.replay(model, trace=guide_trace)).get_trace()
    z = model_trace.nodes["z"].value
    torch.testing.assert_close(z, model_trace.nodes["_RETURN"].value, atol=0.1, rtol=0.0)
    assert model_trace.nodes["z"].frames == guide_trace.nodes["z"].frames


def test_a_plate_made_outside_the_model_freezes_its_minibatch():
    """SEMANTICS 73."""
    frozen = aleator.plate("data", 1000, subsample_size=3)

    def outside():
        with frozen as indices:
            return tuple(indices.tolist())

    def inside():
        with aleator.plate("data", 1000, subsample_size=3) as indices:
            return tuple(indices.tolist())

    assert len({handlers.trace(outside)() for _ in range(5)}) == 1
    assert len({handlers.trace(inside)() for _ in range(5)}) == 5


def test_events_and_batches_over_a_grid():
    with handlers.trace() as trace, aleator.plate_stack("grid", (2, 3)):
        z = aleator.sample("z", dist.Dirichlet(torch.ones(4)))
        aleator.sample("x", dist.Categorical(z), obs=torch.zeros(2, 3))
    assert z.shape == (2, 3, 4)
    assert trace.nodes["x"].fn.batch_shape == (2, 3)


def test_a_dependent_plate_size():
    """The inner plate's size is drawn outside it."""

    def model():
        count = int(aleator.sample("count", dist.Poisson(4.0))) + 1
        with aleator.plate("some", count):
            return aleator.sample("x", dist.Normal(0.0, 1.0))

    sizes = {handlers.trace(model)().shape for _ in range(20)}
    assert len(sizes) > 2


def test_gradients_through_a_subsampled_program():
    """The gradient is the scaled one: that of the full data in expectation."""
    loc = torch.tensor(0.0, requires_grad=True)
    grads = []
    for subset in combinations(range(4), 2):
        with handlers.trace() as trace, aleator.plate("data", 4, subsample=subset) as i:
            aleator.sample("x", dist.Normal(loc, 1.0), obs=DATA.flatten()[i])
        grads.append(torch.autograd.grad(trace.log_prob_sum(), loc)[0])
    torch.testing.assert_close(torch.stack(grads).mean(), DATA.flatten()[:4].sum())
