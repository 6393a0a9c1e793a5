"""More enumerated sites than a tensor has dims: those that never meet share them."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import aleator
import aleator.distributions as dist
from aleator.errors import UnsupportedModelError
from aleator.infer import TraceEnum_ELBO, config_enumerate, infer_discrete
from aleator_enum_discrete.dim_coloring import color_graph

D = torch.float64
START = torch.tensor([0.3, 0.7], dtype=D)
STEP = torch.tensor([[0.8, 0.2], [0.4, 0.6]], dtype=D)
DATA = torch.linspace(-1.0, 2.0, 150, dtype=D)


def nothing(*args):
    """A guide without sites."""


@config_enumerate
def long_chain(length):
    """A chain that nobody declared to be one."""
    states = []
    for t in range(length):
        states.append(aleator.sample(f"x_{t}", dist.Categorical(STEP[states[-1]] if t else START)))
        aleator.sample(f"y_{t}", dist.Normal(states[-1].to(D), 1.0), obs=DATA[t])
    return states


def forward(length, combine):
    alpha = START.log()
    for t in range(length):
        if t:
            alpha = combine(alpha.unsqueeze(-1) + STEP.log(), 0)
        alpha = alpha + dist.Normal(torch.tensor([0.0, 1.0], dtype=D), 1.0).log_prob(DATA[t])
    return combine(alpha, 0)


@pytest.mark.parametrize("length", [20, 150])
def test_a_chain_longer_than_a_tensor_has_dims(length):
    """150 sites, each visible everywhere: the peer stops at the 65th."""
    estimator = TraceEnum_ELBO(max_plate_nesting=0)
    for _ in range(2):  # found, and found again in the cache
        found = estimator.loss(long_chain, nothing, length)
        assert found == pytest.approx(-forward(length, torch.logsumexp).item(), abs=1e-10)


def test_decoding_and_marginals_of_such_a_chain():
    best = infer_discrete(long_chain, first_available_dim=-1, temperature=0)(100)
    joint = START[best[0]].log() + sum(STEP[a, b].log() for a, b in itertools.pairwise(best))
    joint = joint + sum(dist.Normal(x.to(D), 1.0).log_prob(DATA[t]) for t, x in enumerate(best))
    assert joint.item() == pytest.approx(forward(100, lambda a, dim: a.amax(dim)).item(), abs=1e-10)
    marginals = TraceEnum_ELBO(max_plate_nesting=0).compute_marginals(long_chain, nothing, 100)
    assert len(marginals) == 100
    assert marginals["x_50"].probs.sum().item() == pytest.approx(1.0)


def test_in_the_guide():
    @config_enumerate
    def guide(length):
        for t in range(length):
            aleator.sample(f"x_{t}", dist.Categorical(START))

    def model(length):
        before = None
        for t in range(length):
            before = aleator.sample(f"x_{t}", dist.Categorical(STEP[before] if t else START))

    exact = sum((START * (START @ STEP.log() - START.log())).sum() for _ in range(69))
    assert TraceEnum_ELBO(max_plate_nesting=0).loss(model, guide, 70) == pytest.approx(-exact.item(), abs=1e-10)


def summed(count):
    @config_enumerate
    def model():
        total = torch.zeros(())
        for i in range(count):
            total = total + aleator.sample(f"x_{i}", dist.Bernoulli(0.5))
        aleator.sample("sum", dist.Normal(total, 1.0), obs=torch.tensor(1.0))

    return model


def test_a_factor_that_would_not_fit_is_refused_before_it_is_made():
    """2 to the 70th values: the program would make them before any sum could be planned."""
    message = r"factor of site 'sum' has a value for each of 1\.2e\+21 combinations of the 70 .*'x_0'.* and 62 more"
    with pytest.raises(UnsupportedModelError, match=message):
        TraceEnum_ELBO(max_plate_nesting=0).loss(summed(70), nothing)


def test_more_dims_than_a_tensor_has():
    """Sites of one value each: small, but 70 of them in one factor."""

    @config_enumerate
    def model():
        total = torch.zeros(())
        for i in range(70):
            total = total + aleator.sample(f"x_{i}", dist.Categorical(torch.ones(1)))
        aleator.sample("sum", dist.Normal(total, 1.0), obs=torch.tensor(1.0))

    with pytest.raises(
        UnsupportedModelError, match=r"need 70 dims, and a tensor has \d+ .*, 70, meet in .* site 'sum'"
    ):
        TraceEnum_ELBO(max_plate_nesting=0).loss(model, nothing)


def test_a_program_that_changes_is_colored_again():
    extra = []

    @config_enumerate
    def model(length):
        long_chain(length)
        for name in extra:
            aleator.sample(name, dist.Categorical(START))

    estimator = TraceEnum_ELBO(max_plate_nesting=0)
    exact = -forward(80, torch.logsumexp).item()
    assert estimator.loss(model, nothing, 80) == pytest.approx(exact, abs=1e-10)
    extra.append("more")
    assert estimator.loss(model, nothing, 80) == pytest.approx(exact, abs=1e-10)


@given(st.lists(st.frozensets(st.sampled_from("abcdefgh"), max_size=4), max_size=12))
@settings(deadline=None)
def test_colors_differ_within_each_clique(cliques):
    colors = color_graph(cliques)
    for clique in cliques:
        assert len({colors[name] for name in clique}) == len(clique)
    assert set(colors) == frozenset().union(*cliques)
