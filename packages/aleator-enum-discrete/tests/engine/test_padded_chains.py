"""Chains of unequal length in one batch: what lies behind a mask changes nothing that lies before it."""

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator.handlers import mask
from aleator.infer import TraceEnum_ELBO, config_enumerate, infer_discrete
from aleator.ops import Vindex

STATES, SYMBOLS = 3, 2
LENGTHS = torch.tensor([1, 1, 2, 3, 3, 4, 5, 6])


def tables():
    source = torch.Generator().manual_seed(4)
    sizes = [(STATES,), (STATES, STATES), (STATES, SYMBOLS)]
    # Rows unlike each other: behind the data, one likely successor speaks for the state before it.
    return [torch.randn(size, dtype=torch.float64, generator=source).softmax(-1) for size in sizes]


@config_enumerate
def model(data, lengths):
    start, transition, emission = tables()
    states = []
    with aleator.plate("sequences", len(lengths), dim=-1):
        for t in aleator.markov(range(data.shape[1])):
            with mask(mask=lengths > t):
                probs = Vindex(transition)[states[-1], :] if states else start
                states.append(aleator.sample(f"state_{t}", dist.Categorical(probs)))
                aleator.sample(f"datum_{t}", dist.Categorical(Vindex(emission)[states[-1], :]), obs=data[:, t])
    return states


def guide(data, lengths):
    """Nothing: every latent site is summed out."""


def sequences():
    return torch.randint(SYMBOLS, (len(LENGTHS), 6), generator=torch.Generator().manual_seed(0))


def test_likelihood_and_marginals_of_each_sequence_alone():
    data = sequences()
    estimator = TraceEnum_ELBO(max_plate_nesting=1)
    together = estimator.compute_marginals(model, guide, data, LENGTHS)
    total = 0.0
    for row, length in enumerate(LENGTHS.tolist()):
        alone = data[row : row + 1, :length], LENGTHS[row : row + 1]
        total += estimator.loss(model, guide, *alone)
        for name, marginal in estimator.compute_marginals(model, guide, *alone).items():
            torch.testing.assert_close(together[name].probs[row], marginal.probs.reshape(-1))
    assert estimator.loss(model, guide, data, LENGTHS) == pytest.approx(total, rel=1e-12)


def test_the_best_states_are_those_of_each_sequence_alone():
    """SEMANTICS 41: the mask counts."""
    data = sequences()
    together = torch.stack(infer_discrete(model, first_available_dim=-2, temperature=0)(data, LENGTHS), 1)
    for row, length in enumerate(LENGTHS.tolist()):
        alone = data[row : row + 1, :length], LENGTHS[row : row + 1]
        states = infer_discrete(model, first_available_dim=-2, temperature=0)(*alone)
        assert together[row, :length].tolist() == torch.stack(states, 1).flatten().tolist()
