"""The chain kernel against all sequences written out, in every form of its arguments (SEMANTICS 39, 40, 43)."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.fx.experimental.proxy_tensor import make_fx

from aleator import rng
from aleator.ops import logsumexp
from aleator_enum_discrete.engine.chain_doubling import doubled_log_sum
from aleator_enum_discrete.engine.chain_draws import draw_chain
from aleator_enum_discrete.engine.chain_linear import linear_messages
from aleator_enum_discrete.engine.chain_maximum import chain_maximum
from aleator_enum_discrete.engine.chain_shapes import ChainTables
from aleator_enum_discrete.engine.chains import chain_log_sum, chain_marginals

CLOSE = {"rtol": 1e-12, "atol": 1e-12}
METHODS = ["auto", "linear", "log", "doubling"]


def all_sequences(transition, observation, initial, length):
    """For each sequence of the batch, its states and their logarithms, written out one by one."""
    steps, states = observation.shape[0], observation.shape[-1]
    batch = torch.broadcast_shapes(transition.shape[1:-2], observation.shape[1:-1])
    missing = (1,) * (len(batch) + 3 - transition.dim())
    transition = transition.reshape(transition.shape[:1] + missing + transition.shape[1:])
    transition = transition.expand(max(steps - 1, 1), *batch, states, states).reshape(-1, batch.numel(), states, states)
    observation = observation.expand(steps, *batch, states).reshape(steps, -1, states)
    initial = torch.zeros(states, dtype=observation.dtype) if initial is None else initial
    initial = initial.expand(*batch, states).reshape(-1, states)
    for n in range(batch.numel()):
        last = steps if length is None else length.reshape(-1)[n].item()
        paths = torch.tensor(list(itertools.product(range(states), repeat=last)))
        scores = initial[n, paths[:, 0]] + observation[torch.arange(last), n, paths].sum(1)
        for step in range(1, last):
            scores = scores + transition[step - 1, n, paths[:, step - 1], paths[:, step]]
        yield paths, scores


@st.composite
def chains(draw, zeros=True):
    steps, states = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    batch = draw(st.sampled_from([(), (1,), (3,), (2, 2)]))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 2**31)))
    scale = draw(st.sampled_from([1.0, 30.0]))

    def table(*shape):
        values = scale * torch.randn(shape, dtype=torch.float64, generator=generator)
        hidden = torch.rand(shape, generator=generator) < draw(st.sampled_from([0.0, 0.3]))
        return values.masked_fill(hidden, -math.inf) if zeros else values

    rows = draw(st.sampled_from([1, max(steps - 1, 1)]))
    shared = draw(st.booleans())
    transition = table(rows, *([1] * len(batch) if shared else batch), states, states)
    if shared and draw(st.booleans()):
        transition = transition.reshape(rows, states, states)
    initial = table(states) if draw(st.booleans()) else None
    length = torch.randint(1, steps + 1, batch, generator=generator) if draw(st.booleans()) else None
    return transition, table(steps, *batch, states), initial, length


@settings(max_examples=150, deadline=None)
@given(chains(), st.sampled_from(METHODS))
def test_value_and_gradient(chain, method):
    transition, observation, initial, length = chain
    inputs = [each.clone().requires_grad_() for each in (transition, observation, initial) if each is not None]
    filled = (*inputs, None) if initial is None else tuple(inputs)
    total = chain_log_sum(*filled, length, method)
    expected = torch.stack([logsumexp(scores, 0) for _, scores in all_sequences(*filled, length)]).reshape(total.shape)
    torch.testing.assert_close(total, expected, **CLOSE)
    weights = torch.linspace(0.5, 2.0, total.numel(), dtype=torch.float64).reshape(total.shape)
    sums = [(each.masked_fill(expected == -math.inf, 0.0) * weights).sum() for each in (total, expected)]
    grads = [torch.autograd.grad(each, inputs, materialize_grads=True) for each in sums]
    for one, other in zip(*grads, strict=True):
        torch.testing.assert_close(one, other, **CLOSE)
    with torch.no_grad():
        torch.testing.assert_close(chain_log_sum(*filled, length, method), expected, **CLOSE)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("length", [None, [3, 1]])
@pytest.mark.parametrize("shape", [(1,), (2,), (1, 2), (2, 2)])
def test_second_derivatives(shape, length, method):
    torch.manual_seed(0)
    transition = torch.randn(*shape, 2, 2, dtype=torch.float64, requires_grad=True)
    observation = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    length = None if length is None else torch.tensor(length)

    def total(transition, observation):
        return chain_log_sum(transition, observation, None, length, method)

    assert torch.autograd.gradcheck(total, (transition, observation))
    assert torch.autograd.gradgradcheck(total, (transition, observation))


@settings(max_examples=80, deadline=None)
@given(chains())
def test_marginals(chain):
    transition, observation, initial, length = chain
    unary, pairwise = chain_marginals(transition, observation, initial, length)
    steps, states = observation.shape[0], observation.shape[-1]
    count = unary[0, ..., 0].numel()
    unary, pairwise = unary.reshape(steps, count, states), pairwise.reshape(steps - 1, count, states, states)
    for n, (paths, scores) in enumerate(all_sequences(transition, observation, initial, length)):
        if scores.amax() == -math.inf:
            assert unary[:, n].isfinite().all()
            continue
        weights = scores.softmax(0)
        for step in range(steps):
            expected = torch.zeros(states, dtype=torch.float64)
            if step < paths.shape[1]:
                expected.index_add_(0, paths[:, step], weights)
            torch.testing.assert_close(unary[step, n], expected, **CLOSE)
        for step in range(steps - 1):
            expected = torch.zeros(states * states, dtype=torch.float64)
            if step + 1 < paths.shape[1]:
                expected.index_add_(0, paths[:, step] * states + paths[:, step + 1], weights)
            torch.testing.assert_close(pairwise[step, n].flatten(), expected, **CLOSE)


@settings(max_examples=100, deadline=None)
@given(chains())
def test_the_best_sequence(chain):
    transition, observation, initial, length = chain
    value, states = chain_maximum(transition, observation, initial, length)
    found = states.reshape(states.shape[0], -1)
    for n, (paths, scores) in enumerate(all_sequences(transition, observation, initial, length)):
        torch.testing.assert_close(value.reshape(-1)[n], scores.amax(), **CLOSE)
        best = (paths == found[: paths.shape[1], n]).all(1)
        torch.testing.assert_close(scores[best], scores.amax().reshape(1), **CLOSE)
        assert (found[paths.shape[1] :, n] == 0).all()


def test_the_gradient_of_the_best_sequence():
    torch.manual_seed(1)
    inputs = [torch.randn(1, 3, 3, dtype=torch.float64), torch.randn(6, 2, 3, dtype=torch.float64)]
    inputs = [each.requires_grad_() for each in inputs]
    assert torch.autograd.gradcheck(lambda *given: chain_maximum(*given)[0], inputs)
    length = torch.tensor([2, 6])
    assert torch.autograd.gradcheck(lambda *given: chain_maximum(*given, length=length)[0], inputs)


@pytest.mark.parametrize("length", [None, 3])
def test_draws_have_the_joint_frequencies(length):
    """All states together: drawing each step from its own marginal would fail."""
    torch.manual_seed(2)
    transition = torch.tensor([[[1.0, -1.5], [-1.0, 1.0]]], dtype=torch.float64)
    observation = 0.5 * torch.randn(4, 2, 2, dtype=torch.float64)
    lengths = None if length is None else torch.tensor([4, length])
    with rng(3):
        drawn = draw_chain(transition, observation, None, lengths, num_samples=20_000)
    unary, _ = chain_marginals(transition, observation, None, lengths)
    for n, (paths, scores) in enumerate(all_sequences(transition, observation, None, lengths)):
        last = paths.shape[1]
        weights = 2 ** torch.arange(last).flip(0)
        expected = scores.softmax(0)[torch.argsort((paths * weights).sum(1))] * 20_000

        def statistic(states, weights=weights, last=last, expected=expected):
            counts = torch.bincount((states[:, :last] * weights).sum(1), minlength=2**last)
            return ((counts - expected) ** 2 / expected).sum().item()

        assert statistic(drawn[:, :, n]) < 50  # 15 degrees of freedom: one seed in 100,000
        apart = torch.stack([torch.multinomial(row, 20_000, True) for row in unary[:last, n]], 1)
        assert statistic(apart) > 200
        assert (drawn[:, last:, n] == 0).all()


def test_one_draw_has_the_shape_of_the_batch():
    transition, observation = torch.zeros(1, 3, 3), torch.zeros(5, 2, 4, 3)
    assert draw_chain(transition, observation).shape == (5, 2, 4)
    assert draw_chain(transition, observation, num_samples=6).shape == (6, 5, 2, 4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_probabilities_give_way_where_they_would_lose_what_counts(dtype):
    """A state of vanishing weight that is the only one to survive later: rescaled probabilities round it to zero."""
    gap = {torch.float32: 60.0, torch.float64: 500.0}[dtype]
    transition = torch.tensor([[0.0, -math.inf], [-math.inf, 0.0]], dtype=dtype).unsqueeze(0)
    observation = torch.zeros(8, 1, 2, dtype=dtype)
    observation[:3, 0, 1] = -gap
    observation[3:6, 0, 0] = -gap - 1.0
    tables = ChainTables.of(transition, observation)
    assert linear_messages(tables, True) is None
    assert linear_messages(tables, False) is None
    assert doubled_log_sum(tables) is None
    expected = torch.tensor([-3 * gap, -3 * gap - 3.0], dtype=dtype).logsumexp(0)
    for method in METHODS:
        torch.testing.assert_close(chain_log_sum(transition, observation, None, None, method), expected.reshape(1))
        observation.requires_grad_().grad = None
        chain_log_sum(transition, observation, None, None, method).backward()
        torch.testing.assert_close(observation.grad[0, 0, 1], torch.tensor(3.0, dtype=dtype).sigmoid())
        observation = observation.detach()


def test_hard_zeros_stay_with_probabilities():
    """A left-to-right chain has zeros everywhere, and they are exact: no need for logarithms."""
    transition = torch.full((5, 5), 0.5, dtype=torch.float64).triu().tril(1).log().unsqueeze(0)
    observation = torch.randn(40, 3, 5, dtype=torch.float64)
    start = torch.tensor([1.0, 0, 0, 0, 0], dtype=torch.float64).log()
    assert linear_messages(ChainTables.of(transition, observation, start), False) is not None
    values = [chain_log_sum(transition, observation, start, None, method) for method in METHODS]
    for value in values:
        torch.testing.assert_close(value, values[2], **CLOSE)


def test_long_chains_neither_overflow_nor_drift():
    torch.manual_seed(4)
    transition = torch.randn(8, 8, dtype=torch.float64).log_softmax(-1).unsqueeze(0)
    observation = 10 * torch.randn(2000, 1, 8, dtype=torch.float64) - 50.0
    reference = chain_log_sum(transition, observation, method="log")
    for method in METHODS:
        value = chain_log_sum(transition, observation, method=method)
        torch.testing.assert_close(value, reference, rtol=1e-12, atol=0)


def test_what_does_not_exist_may_hold_anything():
    transition, observation = torch.randn(1, 3, 3), torch.randn(5, 2, 3)
    length = torch.tensor([5, 2])
    expected = chain_log_sum(transition, observation, None, length)
    spoilt = observation.clone()
    spoilt[2:, 1] = math.nan
    torch.testing.assert_close(chain_log_sum(transition, spoilt, None, length), expected)
    spoilt.requires_grad_()
    chain_log_sum(transition, spoilt, None, length).sum().backward()
    assert spoilt.grad.isfinite().all()
    assert (spoilt.grad[2:, 1] == 0).all()


def test_a_captured_chain_grows_with_the_logarithm_of_its_length():
    def nodes(steps):
        recorded = make_fx(lambda *given: chain_log_sum(*given))(torch.randn(1, 2, 2), torch.randn(steps, 2))
        given = torch.randn(1, 2, 2), torch.randn(steps, 2)
        torch.testing.assert_close(recorded(*given), chain_log_sum(*given))
        return len(recorded.graph.nodes)

    assert nodes(128) < nodes(16) + 100


def test_it_is_mapped_and_differentiated_by_torch_func():
    transition = torch.randn(1, 3, 3, dtype=torch.float64)
    observation = torch.randn(4, 6, 3, dtype=torch.float64)
    expected = chain_log_sum(transition, observation)
    mapped = torch.func.vmap(lambda row: chain_log_sum(transition, row), in_dims=1)(observation)
    torch.testing.assert_close(mapped, expected)
    gradient = torch.func.grad(lambda row: chain_log_sum(transition, row).sum())(observation)
    torch.testing.assert_close(gradient, chain_marginals(transition, observation)[0])


@pytest.mark.parametrize("method", METHODS)
def test_what_is_impossible_beyond_the_end_counts_nothing(method):
    transition = torch.full((2, 2, 2, 2), -math.inf, dtype=torch.float64)
    transition[0] = 0.0
    observation = torch.randn(3, 2, 2, dtype=torch.float64, requires_grad=True)
    transition.requires_grad_()
    length = torch.tensor([2, 1])
    total = chain_log_sum(transition, observation, None, length, method)
    expected = observation[:, 0, :].logsumexp(-1)[:2].sum(), observation[0, 1].logsumexp(-1)
    torch.testing.assert_close(total, torch.stack(expected), **CLOSE)
    for gradient in torch.autograd.grad(total.sum(), (transition, observation)):
        assert gradient.isfinite().all()
    for marginals in chain_marginals(transition, observation, None, length):
        assert marginals.isfinite().all()


@pytest.mark.parametrize("rows", [0, 1])
@pytest.mark.parametrize("method", METHODS)
def test_a_chain_of_one_step_has_no_transition(rows, method):
    transition = torch.randn(rows, 3, 3, requires_grad=True)
    observation = torch.randn(1, 2, 3, requires_grad=True)
    total = chain_log_sum(transition, observation, method=method)
    torch.testing.assert_close(total, observation[0].logsumexp(-1))
    by_transition, by_observation = torch.autograd.grad(total.sum(), (transition, observation), materialize_grads=True)
    assert by_transition.shape == transition.shape
    assert (by_transition == 0).all()
    torch.testing.assert_close(by_observation, observation.softmax(-1))


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"found transition \(1, 2, 3\), observation \(4, 2\)"):
        chain_log_sum(torch.zeros(1, 2, 3), torch.zeros(4, 2))
    with pytest.raises(ValueError, match="4 steps have 1 or 3 tables of transitions"):
        chain_log_sum(torch.zeros(4, 2, 2), torch.zeros(4, 2))
    with pytest.raises(ValueError, match="1 steps have 1 or 0 tables of transitions"):
        chain_log_sum(torch.zeros(4, 2, 2), torch.zeros(1, 2))
    with pytest.raises(ValueError, match="initial logarithms have 2 states last"):
        chain_log_sum(torch.zeros(1, 2, 2), torch.zeros(4, 2), torch.zeros(3))


@pytest.mark.parametrize("shape", [(1,), (5,), (1, 3), (5, 3)])
def test_logarithms_step_by_step_give_the_gradient_of_all_at_once(shape, monkeypatch):
    from aleator_enum_discrete.engine import chain_log

    torch.manual_seed(6)
    transition = torch.randn(*shape, 4, 4, dtype=torch.float64, requires_grad=True)
    observation = torch.randn(6, 3, 4, dtype=torch.float64, requires_grad=True)
    found = []
    for limit in (1 << 22, 0):
        monkeypatch.setattr(chain_log, "PAIRWISE_ELEMENTS", limit)
        total = chain_log_sum(transition, observation, method="log").square().sum()
        found.append(torch.autograd.grad(total, (transition, observation)))
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other, **CLOSE)


@pytest.mark.parametrize("lengths", [None, [7, 3, 1]])
@pytest.mark.parametrize("shape", [(1,), (6,), (1, 3), (6, 3)])
def test_large_and_small_steps_go_back_alike(shape, lengths, monkeypatch):
    from aleator_enum_discrete.engine import chain_maximum as maximum
    from aleator_enum_discrete.engine import chain_origins as origins

    torch.manual_seed(7)
    transition, observation = torch.randn(*shape, 4, 4), torch.randn(7, 3, 4)
    lengths = None if lengths is None else torch.tensor(lengths)
    best, drawn = [], []
    for limit in (1 << 20, 0):
        monkeypatch.setattr(maximum, "LARGE_STEP", limit)
        monkeypatch.setattr(origins, "TOGETHER_ELEMENTS", limit)
        best.append(chain_maximum(transition, observation, None, lengths)[1])
        with rng(8):
            drawn.append(draw_chain(transition, observation, None, lengths, num_samples=50))
    torch.testing.assert_close(*best)
    torch.testing.assert_close(*drawn)
