"""A guide's site whose values come one run at a time, given one whose values come at once, beside a markov chain."""

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator.infer import TraceEnum_ELBO, config_enumerate
from aleator.ops import Vindex

START = torch.tensor([0.3, -0.4], dtype=torch.float64)
MOVE = torch.tensor([[0.5, -0.2], [-1.0, 0.1]], dtype=torch.float64)
PARALLEL = torch.tensor([0.2, 0.7], dtype=torch.float64)
SEQUENTIAL = torch.tensor([[0.1, 0.9], [-0.6, 0.4]], dtype=torch.float64)
DATUM = torch.tensor([0.8, 0.1], dtype=torch.float64)


def model(length, with_datum):
    if with_datum:
        aleator.sample("x", dist.Categorical(logits=DATUM), obs=torch.tensor(1))
    state = None
    for t in aleator.markov(range(length)):
        logits = START if state is None else Vindex(MOVE)[state, :]
        state = aleator.sample(f"z{t}", dist.Categorical(logits=logits))


def guide(length, with_datum):
    first = aleator.sample("z0", dist.Categorical(logits=PARALLEL), infer={"enumerate": "parallel"})
    aleator.sample("z1", dist.Categorical(logits=Vindex(SEQUENTIAL)[first, :]), infer={"enumerate": "sequential"})


def expected(with_datum):
    log_p = START.log_softmax(-1).unsqueeze(-1) + MOVE.log_softmax(-1)
    log_q = PARALLEL.log_softmax(-1).unsqueeze(-1) + SEQUENTIAL.log_softmax(-1)
    total = (log_q.exp() * (log_p - log_q)).sum()
    return -(total + DATUM.log_softmax(-1)[1] * with_datum).item()


@pytest.mark.parametrize("length", [2, 3])
def test_what_follows_in_the_chain(length):
    loss = TraceEnum_ELBO(max_plate_nesting=0).loss(config_enumerate(model), guide, length, False)
    assert loss == pytest.approx(expected(False), rel=1e-12)


def test_what_neither_touches_counts_once():
    loss = TraceEnum_ELBO(max_plate_nesting=0).loss(config_enumerate(model), guide, 2, True)
    assert loss == pytest.approx(expected(True), rel=1e-12)
