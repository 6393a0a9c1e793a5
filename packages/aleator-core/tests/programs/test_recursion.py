"""Programs that call themselves, as deep as chance takes them."""

import sys

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator import handlers
from aleator.runtime import RUN, STACK


def geometric(p, t=0):
    """How many failures before a success: recursion without a bound."""
    stop = aleator.sample(f"stop_{t}", dist.Bernoulli(p))
    return t if stop == 1 else geometric(p, t + 1)


def test_a_geometric_by_recursion():
    """Would catch sites that are skipped or drawn twice: the mean of 3000 is within four standard errors."""
    count, p = 3000, 0.4
    draws = torch.tensor([float(geometric(p)) for _ in range(count)])
    mean, variance = (1 - p) / p, (1 - p) / p**2
    assert abs(draws.mean() - mean) < 4 * (variance / count) ** 0.5


def test_the_density_of_a_recursive_run():
    for _ in range(20):
        trace = handlers.trace(geometric).get_trace(0.3)
        failures = trace.nodes["_RETURN"].value
        assert len(trace.stochastic_nodes) == failures + 1
        expected = failures * torch.tensor(0.7).log() + torch.tensor(0.3).log()
        torch.testing.assert_close(trace.log_prob_sum(), expected)


def test_a_replayed_recursion_takes_the_same_way():
    trace = handlers.trace(geometric).get_trace(0.2)
    assert handlers.replay(geometric, trace=trace)(0.9) == trace.nodes["_RETURN"].value


def grammar(depth=0, name="s"):
    """Expressions of a random grammar: each node is a leaf, or two more expressions."""
    kind = aleator.sample(name, dist.Categorical(torch.tensor([0.6, 0.2, 0.2])))
    if kind == 0:
        return aleator.sample(f"{name}_leaf", dist.Normal(0.0, 1.0))
    left, right = grammar(depth + 1, name + "l"), grammar(depth + 1, name + "r")
    return left + right if kind == 1 else left * right


def test_a_random_grammar():
    sizes = set()
    for _ in range(100):
        trace = handlers.trace(grammar).get_trace()
        leaves = [name for name in trace.stochastic_nodes if name.endswith("_leaf")]
        inner = [name for name in trace.stochastic_nodes if name not in leaves]
        assert len(inner) == 2 * len(leaves) - 1
        sizes.add(len(leaves))
    assert len(sizes) > 3


def test_deep_recursion_under_handlers():
    """A thousand calls deep, handlers inside handlers."""

    def down(t):
        if t:
            with handlers.scale(scale=1.0):
                return down(t - 1)
        return aleator.sample("end", dist.Normal(0.0, 1.0))

    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(10_000)
    try:
        with handlers.trace() as trace:
            down(1000)
    finally:
        sys.setrecursionlimit(limit)
    assert trace.nodes["end"].scale == 1.0


def test_recursion_without_end_leaves_everything_clean():
    """SEMANTICS 76: Python gives up; the stack is what it was."""

    def forever(t):
        with handlers.scale(scale=1.0):
            aleator.sample(f"x_{t}", dist.Normal(0.0, 1.0))
            return forever(t + 1)

    with pytest.raises(RecursionError), handlers.trace():
        forever(0)
    assert (STACK.get(), RUN.get()) == ((), None)
