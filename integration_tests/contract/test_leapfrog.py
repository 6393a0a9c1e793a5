"""Fourth contract program: a leapfrog integrator on ``potential``."""

from __future__ import annotations

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator.errors import UnsupportedModelError
from aleator.infer import potential

MEASURED = torch.tensor(9.5, dtype=torch.float64)


def model():
    weight = aleator.sample("weight", dist.Normal(torch.tensor(8.5, dtype=torch.float64), 1.0))
    noise = aleator.sample("noise", dist.Gamma(torch.tensor(4.0, dtype=torch.float64), torch.tensor(5.0).double()))
    aleator.sample("measurement", dist.Normal(weight, noise), obs=MEASURED)


# [contract]
def leapfrog(log_density, position, momentum, step_size, steps):
    """Follow Hamilton's equations for a log density of a flat vector."""
    gradient = torch.func.grad(log_density)
    momentum = momentum + 0.5 * step_size * gradient(position)
    for _ in range(steps - 1):
        position = position + step_size * momentum
        momentum = momentum + step_size * gradient(position)
    position = position + step_size * momentum
    return position, momentum + 0.5 * step_size * gradient(position)


# [contract]


def closed_form(flat):
    """The log joint density of weight and log noise, written without the library."""
    weight, noise = flat[0], flat[1].exp()
    shape, rate = torch.tensor([4.0, 5.0], dtype=torch.float64)
    log_prior = torch.distributions.Normal(8.5, 1.0).log_prob(weight)
    log_prior = log_prior + torch.distributions.Gamma(shape, rate).log_prob(noise)
    return log_prior + torch.distributions.Normal(weight, noise).log_prob(MEASURED) + flat[1]


def test_log_density_equals_the_closed_form():
    """Catches a missing log Jacobian, and sites laid out in another order."""
    flat = torch.tensor([8.9, -0.3], dtype=torch.float64)
    torch.testing.assert_close(potential(model).log_density(flat), closed_form(flat), rtol=1e-13, atol=1e-13)


def test_leapfrog_keeps_the_energy_to_second_order_and_reverses():
    target = potential(model)
    start = torch.tensor([8.9, -0.3], dtype=torch.float64)
    momentum = torch.tensor([0.4, -0.6], dtype=torch.float64)

    def energy(position, momentum):
        return float(-target.log_density(position) + 0.5 * momentum @ momentum)

    errors = []
    for step_size, steps in ((0.08, 20), (0.04, 40)):
        end, final = leapfrog(target.log_density, start, momentum, step_size, steps)
        errors.append(abs(energy(end, final) - energy(start, momentum)))
        back, reversed_momentum = leapfrog(target.log_density, end, -final, step_size, steps)
        torch.testing.assert_close(back, start, rtol=1e-10, atol=1e-10)
        torch.testing.assert_close(-reversed_momentum, momentum, rtol=1e-10, atol=1e-10)
    # Half the step size: a quarter of the error, for a second-order integrator with the right gradient.
    assert errors[1] < errors[0] / 3
    assert errors[0] > 0


def test_unravel_puts_values_in_their_supports():
    values = potential(model).unravel(torch.tensor([8.9, -0.3], dtype=torch.float64))
    assert values["weight"] == 8.9
    torch.testing.assert_close(values["noise"], torch.tensor(-0.3, dtype=torch.float64).exp())


def test_discrete_site_is_refused_by_name():
    with pytest.raises(UnsupportedModelError, match="'z' is discrete"):
        potential(lambda: aleator.sample("z", dist.Bernoulli(0.5)))
