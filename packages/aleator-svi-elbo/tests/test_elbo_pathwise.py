"""The pathwise part against a closed form under common random numbers: exact per draw, not on average."""

from __future__ import annotations

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator_svi_elbo import Trace_ELBO
from exact_expectation import D


def model():
    aleator.sample("z", dist.Normal(D(0.5), D(2.0)))


def guide():
    loc, log_scale = aleator.param("loc", D(-0.3)), aleator.param("log_scale", D(0.2))
    aleator.sample("z", dist.Normal(loc, log_scale.exp()))


def closed_form(noise):
    """d/dloc and d/dlog_scale of log q(z) - log p(z) at z = loc + scale * noise, for normals, by hand."""
    scale = D(0.2).exp()
    z = -0.3 + scale * noise
    slope = (z - 0.5) / 4.0  # of -log p
    return slope, slope * scale * noise - 1.0


def noise_of(seed, count):
    with aleator.rng(seed), aleator.ParamStore():
        return torch.stack([(aleator.sample("z", dist.Normal(D(0.0), D(1.0)))) for _ in range(count)])


@pytest.mark.parametrize("options", [{}, {"num_particles": 4}])
def test_the_gradient_of_normal_to_normal_at_each_draw(options):
    """Catches a gradient that only holds on average, and any factor in front of it."""
    count = options.get("num_particles", 1)
    for seed in range(3):
        with aleator.ParamStore() as store:
            with aleator.rng(seed):
                surrogate = Trace_ELBO(**options).estimate(model, guide).surrogate
            leaves = [store.unconstrained(name) for name in ("loc", "log_scale")]
            found = torch.autograd.grad(surrogate, leaves)
        by_hand = [part.mean() for part in closed_form(noise_of(seed, count))]
        torch.testing.assert_close(list(found), by_hand, rtol=1e-12, atol=1e-14)


def test_the_mean_over_the_normal_is_the_gradient_of_the_kl():
    """Averaged over the noise, exactly by quadrature, the closed form above is the KL's own gradient."""
    loc, log_scale = D(-0.3).requires_grad_(), D(0.2).requires_grad_()
    kl = torch.distributions.kl_divergence(
        torch.distributions.Normal(loc, log_scale.exp()), torch.distributions.Normal(D(0.5), D(2.0))
    )
    nodes, weights = D([-(3.0**0.5), 0.0, 3.0**0.5]), D([1.0, 4.0, 1.0]) / 6.0
    expected = torch.autograd.grad(kl, (loc, log_scale))
    torch.testing.assert_close([(weights * part).sum() for part in closed_form(nodes)], list(expected))
