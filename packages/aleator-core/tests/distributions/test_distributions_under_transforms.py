"""Every distribution under vmap, grad and make_fx."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

import aleator.distributions as dist
from aleator.randomness import foreign_draw, preserve, rng

pytestmark = pytest.mark.filterwarnings("ignore:There is a performance drop:UserWarning")


def tensors_of(case):
    """The floating tensor arguments of a case, and a function from them to the distribution."""
    keywords = case.keywords(torch.float64)
    names = [name for name, value in keywords.items() if isinstance(value, Tensor) and value.is_floating_point()]

    def make(values):
        return getattr(dist, case.name)(**{**keywords, **dict(zip(names, values, strict=True))})

    return [keywords[name] for name in names], make


def test_log_prob_under_vmap(varied_case):
    values, make = tensors_of(varied_case)
    if not values:
        pytest.skip("no tensor to map over")
    with rng(0):
        point = make(values).sample()
    batch = [torch.stack([value, value]) for value in values]
    mapped = torch.func.vmap(lambda *given: make(given).log_prob(point))(*batch)
    expected = make(values).log_prob(point)
    torch.testing.assert_close(mapped, torch.stack([expected, expected]), equal_nan=True)


def test_draws_under_vmap_differ_between_lanes(varied_case):
    values, make = tensors_of(varied_case)
    lanes = torch.zeros(4, dtype=torch.float64)
    d = make(values)

    def draw(shift):
        return make([value + 0 * shift for value in values]).sample((7,)) + 0 * shift

    def fixed(shift):
        return d.sample((7,)) + 0 * shift

    for function in (draw, fixed):
        with rng(0):
            mapped = torch.func.vmap(function, randomness="different")(lanes)
        with rng(0):
            again = torch.func.vmap(function, randomness="different")(lanes)
        assert mapped.shape == (4, 7, *d.batch_shape, *d.event_shape)
        assert torch.equal(mapped, again)
        assert len({tuple(row.tolist()) for row in mapped.flatten(1)}) > 1, "every lane drew the same"
        # The constraint on correlation factors is tighter than the rounding of a mapped product of matrices.
        if varied_case.name != "LKJCholesky":
            assert d.support.check(mapped).all()


def test_gradient_of_log_prob_under_func_grad(varied_case):
    values, make = tensors_of(varied_case)
    if not values:
        pytest.skip("nothing to differentiate")
    with rng(0):
        point = make(values).sample()
    found = torch.func.grad(lambda given: make(given).log_prob(point).sum())(values)
    leaves = [value.clone().requires_grad_() for value in values]
    expected = torch.autograd.grad(make(leaves).log_prob(point).sum(), leaves, allow_unused=True)
    for ours, eager in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, torch.zeros_like(ours) if eager is None else eager, equal_nan=True)


def test_gradient_of_rsample_under_func_grad(varied_case):
    values, make = tensors_of(varied_case)
    if not make(values).has_rsample or not values:
        pytest.skip("no reparameterized draw")
    with rng(0):
        found = torch.func.grad(lambda given: (make(given).rsample() ** 2).sum())(values)
    leaves = [value.clone().requires_grad_() for value in values]
    with rng(0):
        drawn = (make(leaves).rsample() ** 2).sum()
    expected = torch.autograd.grad(drawn, leaves, allow_unused=True)
    for ours, eager in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, torch.zeros_like(ours) if eager is None else eager)


def test_recorded_and_replayed(varied_case):
    values, make = tensors_of(varied_case)

    def program(*given):
        d = make(given)
        value = d()
        return value, d.log_prob(value)

    with preserve():
        graph = make_fx(program)(*[value * 1.05 for value in values])
    with rng(2), foreign_draw():
        expected = program(*values)
    with rng(2), foreign_draw():
        found = graph(*values)
    if varied_case.name == "VonMises":
        # Rejection reads the host in eager runs; a recording draws a fixed number of rounds instead.
        assert found[0].shape == expected[0].shape
        torch.testing.assert_close(found[1], make(values).log_prob(found[0]))
        return
    for ours, eager in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, eager, rtol=0, atol=0, equal_nan=True)


def test_von_mises_by_either_way_of_rejection():
    # A sampler that keeps a rejected proposal, or forgets the location, moves the mean direction by far more than 0.02.
    d = dist.VonMises(torch.tensor(0.8), torch.tensor(1.7))
    length = 1 - d.variance
    with rng(0):
        eager = d.sample((40_000,))
        mapped = torch.func.vmap(lambda x: d.sample((10_000,)) + x, randomness="different")(torch.zeros(4)).flatten()
    assert abs(eager.cos().mean() - length) > 0.1, "a forgotten location would pass"
    for draws in (eager, mapped):
        torch.testing.assert_close(draws.cos().mean(), length * torch.tensor(0.8).cos(), atol=0.02, rtol=0)
        torch.testing.assert_close(draws.sin().mean(), length * torch.tensor(0.8).sin(), atol=0.02, rtol=0)
