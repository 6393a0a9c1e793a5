"""Delta, Unit and Empirical, against values written by hand."""

from __future__ import annotations

import math

import pytest
import torch

import aleator.distributions as dist
from aleator.randomness import rng


def test_delta():
    v = torch.tensor([[1.0, 2.0], [3.0, 4.0]], requires_grad=True)
    d = dist.Delta(v, log_density=torch.tensor([0.5, -1.0]), event_dim=1)
    assert (d.batch_shape, d.event_shape) == ((2,), (2,))
    assert d.has_rsample
    assert d() is v
    assert d.rsample((3,)).shape == (3, 2, 2)
    assert not d.sample().requires_grad
    assert d.log_prob(v).tolist() == [0.5, -1.0]
    assert d.log_prob(torch.tensor([1.0, 2.0])).tolist() == [0.5, -math.inf]
    assert d.log_prob(v.expand(3, 2, 2)).shape == (3, 2)
    assert torch.equal(d.mean, v)
    assert not d.variance.any()
    assert d.entropy().tolist() == [-0.5, 1.0]
    assert d.support.event_dim == 1
    wide = d.expand((4, 2))
    assert wide().shape == (4, 2, 2)
    assert wide.log_prob(v).shape == (4, 2)


def test_delta_with_numbers_integers_and_nan():
    assert dist.Delta(3.0).log_prob(torch.tensor(3.0)) == 0.0
    scored = dist.Delta(torch.tensor([1, 2]), 0.25).log_prob(torch.tensor([1, 3]))
    assert scored.tolist() == [0.25, -math.inf]
    assert dist.Delta(torch.tensor(math.nan)).log_prob(torch.tensor(math.nan)) == -math.inf


def test_the_density_of_a_delta_has_a_gradient():
    density = torch.tensor([0.3, 0.7], requires_grad=True)
    d = dist.Delta(torch.zeros(2), density)
    (gradient,) = torch.autograd.grad(d.log_prob(torch.tensor([0.0, 1.0])).exp().sum(), density)
    torch.testing.assert_close(gradient, torch.tensor([math.exp(0.3), 0.0]))


def test_a_masked_delta_is_a_deterministic_site():
    d = dist.Delta(torch.tensor([1.0, 2.0]), event_dim=1).mask(False)
    scored = d.log_prob(torch.tensor([5.0, 5.0]))
    assert scored.shape == ()
    assert scored == 0


def test_unit():
    factor = torch.tensor([0.5, -2.0], requires_grad=True)
    d = dist.Unit(factor)
    assert (d.batch_shape, d.event_shape) == ((2,), (0,))
    value = d.sample()
    assert value.shape == (2, 0)
    assert torch.equal(d.log_prob(value), factor)
    assert d.log_prob(d.sample((3,))).shape == (3, 2)
    assert d.expand((4, 2)).log_prob(value).shape == (4, 2)
    assert bool(d.support.check(value).all())
    d.log_prob(value).sum().backward()
    assert factor.grad.tolist() == [1.0, 1.0]


@pytest.mark.parametrize(("stated", "has_rsample"), [(None, False), (False, False), (True, True)])
def test_unit_says_whether_somebody_stated_its_gradient(stated, has_rsample):
    d = dist.Unit(torch.tensor(0.0), has_rsample=stated)
    assert d.has_rsample is has_rsample
    assert d.states_rsample is (stated is not None)
    assert d.expand((2,)).has_rsample is has_rsample
    assert d().shape == (0,)


def test_empirical_moments_and_density():
    """SEMANTICS 54."""
    weights = torch.tensor([0.2, 0.3, 0.5])
    d = dist.Empirical(torch.tensor([1.0, 3.0, 3.0]), weights.log() + 7.0)
    assert (d.batch_shape, d.event_shape, d.sample_size) == ((), (), 3)
    torch.testing.assert_close(d.mean, torch.tensor(2.6))
    torch.testing.assert_close(d.variance, torch.tensor(0.2 * 1.6**2 + 0.8 * 0.4**2))
    torch.testing.assert_close(d.log_prob(torch.tensor(3.0)), torch.tensor(math.log(0.8)))
    assert d.log_prob(torch.tensor(3.0000005)) == -math.inf, "equality is exact"
    torch.testing.assert_close(d.log_weights.exp(), weights)
    assert d.enumerate_support().tolist() == [1.0, 3.0, 3.0]


def test_empirical_batch_and_event_shapes():
    # Two chains of three draws of a vector of two.
    samples = torch.arange(12.0).reshape(2, 3, 2)
    d = dist.Empirical(samples, torch.tensor([[0.0, 0.0, -math.inf], [0.0, 0.0, 0.0]]))
    assert (d.batch_shape, d.event_shape) == ((2,), (2,))
    assert d.mean.tolist() == [[1.0, 2.0], [8.0, 9.0]]
    scored = d.log_prob(torch.tensor([[2.0, 3.0], [6.0, 0.0]]))
    torch.testing.assert_close(scored, torch.tensor([math.log(0.5), -math.inf]))
    assert d.enumerate_support().shape == (3, 2, 2)
    with rng(0):
        drawn = d.sample((50,))
    assert drawn.shape == (50, 2, 2)
    first = {tuple(row) for row in drawn[:, 0].tolist()}
    assert first == {(0.0, 1.0), (2.0, 3.0)}, "a value without weight was drawn, or one never"
    assert {tuple(row) for row in drawn[:, 1].tolist()} == {(6.0, 7.0), (8.0, 9.0), (10.0, 11.0)}
    wide = d.expand((4, 2))
    assert wide.mean.shape == (4, 2, 2)
    assert wide.sample().shape == (4, 2, 2)


def test_empirical_scores_one_value_only():
    """SEMANTICS 54."""
    d = dist.Empirical(torch.tensor([1.0, 2.0]), torch.zeros(2))
    with pytest.raises(ValueError, match=r"one value per batch element: expected shape \(\), but found \(3,\)"):
        d.log_prob(torch.zeros(3))


def test_empirical_mean_of_integers_is_refused():
    d = dist.Empirical(torch.tensor([1, 2]), torch.zeros(2))
    torch.testing.assert_close(d.log_prob(torch.tensor(1)), torch.tensor(0.5).log())
    for quantity in ("mean", "variance"):
        with pytest.raises(ValueError, match=f"the {quantity} of an Empirical over torch.int64"):
            getattr(d, quantity)


def test_empirical_frequencies():
    # Catches weights that are ignored or applied twice: both move the frequency by more than six standard errors.
    def error(log_weights):
        with rng(0):
            mean = dist.Empirical(torch.tensor([0.0, 1.0]), log_weights).sample((20_000,)).mean().item()
        return abs(mean - 0.75) / math.sqrt(0.75 * 0.25 / 20_000)

    log_weights = torch.tensor([0.25, 0.75]).log()
    assert error(log_weights) < 4
    assert error(0 * log_weights) > 6, "weights ignored would pass"
    assert error(2 * log_weights) > 6, "weights applied twice would pass"
