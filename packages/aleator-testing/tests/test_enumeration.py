"""Exact expectations: of programs whose mean is known by hand, and what is refused."""

from __future__ import annotations

import math

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator.infer import AbstractEstimator, Capabilities, Estimate
from aleator_testing.enumeration import NODES, exact_expectation
from aleator_testing.reference import ReferenceELBO


def empty():
    pass


def test_the_nodes_integrate_polynomials_up_to_degree_five():
    moments = [sum(weight * node**power for node, weight in NODES.items()) for power in range(6)]
    assert moments == pytest.approx([1.0, 0.0, 1.0, 0.0, 3.0, 0.0])


class Drawn(AbstractEstimator):
    """Runs the model alone: the loss is its return value."""

    capabilities = Capabilities()

    def estimate(self, model, guide, /, *args, **kwargs):
        loss = model(*args)
        return Estimate(loss.detach(), loss)


def test_every_kind_of_choice_has_its_probability():
    """A normal's second moment, a category's mean, a minibatch's sum and their product, by hand."""

    def model():
        loc = aleator.param("loc", torch.tensor(0.5))
        z = aleator.sample("z", dist.Normal(loc, 2.0))
        c = aleator.sample("c", dist.Categorical(torch.tensor([0.2, 0.3, 0.5])))
        rows = aleator.plate("data", 4, subsample_size=2).indices
        return z**2 * c * rows.sum()

    found = exact_expectation(Drawn(), model, empty)
    assert found.runs == 3 * 3 * 6
    assert found.loss.item() == pytest.approx((0.25 + 4.0) * 1.3 * 3.0, rel=1e-5)
    assert found.gradients["loc"].item() == pytest.approx(2.0 * 0.5 * 1.3 * 3.0, rel=1e-5)


def test_spread_is_the_standard_deviation_over_the_draws():
    found = exact_expectation(Drawn(), lambda: aleator.sample("b", dist.Bernoulli(0.25)), empty)
    assert found.spread.item() == pytest.approx(math.sqrt(0.25 * 0.75))


def test_draws_under_event_dims_masks_and_plates_are_forced_element_by_element():
    def model():
        with aleator.plate("data", 2):
            bits = aleator.sample("b", dist.Bernoulli(torch.tensor([0.5, 0.25])).mask(False).to_event(1))
        return bits.sum()

    found = exact_expectation(Drawn(), model, empty)
    assert (found.runs, found.loss.item()) == (16, pytest.approx(1.5))


def test_what_has_no_list_of_values_is_refused_by_name():
    with pytest.raises(ValueError, match=r"'g'.*Gamma"):
        exact_expectation(Drawn(), lambda: aleator.sample("g", dist.Gamma(1.0, 1.0)), empty)


def test_an_estimate_that_remembers_is_refused():
    class Remembering(AbstractEstimator):
        capabilities = Capabilities()
        calls = 0

        def estimate(self, model, guide, /, *args, **kwargs):
            type(self).calls += 1
            loss = sum(
                (aleator.sample(f"b_{i}", dist.Bernoulli(0.5)) for i in range(1 + self.calls % 2)), torch.zeros(())
            )
            return Estimate(loss.detach(), loss)

    with pytest.raises(ValueError, match="sum to"):
        exact_expectation(Remembering(), empty, empty)


def test_too_many_combinations_are_refused():
    def model():
        with aleator.plate("data", 8):
            return aleator.sample("b", dist.Bernoulli(0.5)).sum()

    with pytest.raises(ValueError, match="more than 100 combinations"):
        exact_expectation(Drawn(), model, empty, max_runs=100)


def test_given_parameters_stand_in_for_the_stored_ones():
    def model():
        z = aleator.sample("z", dist.Normal(0.0, 1.0))
        aleator.sample("x", dist.Normal(z, 1.0), obs=torch.tensor(1.0))

    def guide():
        aleator.sample("z", dist.Normal(aleator.param("loc", torch.tensor(0.0)), 1.0))

    losses = [
        exact_expectation(ReferenceELBO(), model, guide, parameters={"loc": torch.tensor(loc)}).loss.item()
        for loc in (0.0, 0.5)
    ]
    assert losses[0] - losses[1] == pytest.approx(0.25, abs=1e-5)  # (loc - 1/2)^2, at its least where loc is 1/2
