"""What the bound is worth: per datum, by order, under subsamples and scales, looped and vectorized."""

from __future__ import annotations

import math
import pickle
from typing import Any

import pytest
import torch
from torch import Tensor

import aleator
import aleator.distributions as dist
from aleator import handlers
from aleator.errors import UnsupportedModelError
from aleator.infer import IWAE, RenyiELBO, Trace_ELBO
from aleator.settings import validation_enabled

DATA = torch.tensor([0.7, -0.4, 1.9, 0.1], dtype=torch.float64)


def local_model(batch: list[int] | None = None) -> None:
    with aleator.plate("data", 4, subsample=batch) as indices:
        z = aleator.sample("z", dist.Normal(torch.zeros((), dtype=torch.float64), 1.0))
        aleator.sample("x", dist.Normal(z, 0.5), obs=DATA[indices])


def local_guide(batch: list[int] | None = None) -> None:
    with aleator.plate("data", 4, subsample=batch):
        aleator.sample("z", dist.Normal(torch.tensor(0.3, dtype=torch.float64), 0.8))


def draws(count: int, size: int = 4) -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return 0.3 + 0.8 * torch.randn(count, size, generator=generator, dtype=torch.float64)


def loss_on(estimator: Any, model: Any, guide: Any, values: Tensor, **kwargs: Any) -> Tensor:
    """The loss with the guide's draws of site z given, one row per particle."""
    rows = iter(values)

    class Give(handlers.Messenger):
        def process_sample(self, site: Any) -> None:
            if site.name == "z" and site.value is None:
                site.value = values if estimator.vectorize_particles else next(rows)

    with Give():
        return estimator.estimate(model, guide, **kwargs).loss


def log_weights(values: Tensor, data: Tensor) -> Tensor:
    prior, likelihood = torch.distributions.Normal(0.0, 1.0), torch.distributions.Normal
    q = torch.distributions.Normal(torch.tensor(0.3, dtype=torch.float64), 0.8)
    return prior.log_prob(values) + likelihood(values, 0.5).log_prob(data) - q.log_prob(values)


def plain_bound(weights: Tensor, alpha: float) -> Tensor:
    if math.isinf(alpha):
        return weights.max(0).values if alpha < 0 else weights.min(0).values
    return (torch.logsumexp((1 - alpha) * weights, 0) - math.log(len(weights))) / (1 - alpha)


@pytest.mark.parametrize("vectorized", [False, True])
@pytest.mark.parametrize("alpha", [-math.inf, -2.0, 0.0, 0.5, 3.0, math.inf])
def test_one_bound_per_datum(alpha: float, vectorized: bool) -> None:
    """SEMANTICS 46: plates common to all sites are kept: the mean over particles is taken per element, then summed."""
    values = draws(5)
    estimator = RenyiELBO(alpha, 5, max_plate_nesting=1, vectorize_particles=vectorized)
    loss = loss_on(estimator, local_model, local_guide, values)
    expected = -plain_bound(log_weights(values, DATA), alpha).sum()
    torch.testing.assert_close(loss, expected, rtol=1e-12, atol=1e-12)


def test_plates_that_are_not_common_are_summed_first() -> None:
    """SEMANTICS 46: a global site outside the plate makes one datum of all; vectorized equals looped."""

    def model() -> None:
        z = aleator.sample("z", dist.Normal(torch.zeros((), dtype=torch.float64), 1.0))
        with aleator.plate("data", 4):
            aleator.sample("x", dist.Normal(z, 0.5), obs=DATA)

    def guide() -> None:
        aleator.sample("z", dist.Normal(torch.tensor(0.3, dtype=torch.float64), 0.8))

    values = draws(3, 1).squeeze(-1)
    prior = torch.distributions.Normal(0.0, 1.0).log_prob(values)
    q = torch.distributions.Normal(torch.tensor(0.3, dtype=torch.float64), 0.8).log_prob(values)
    x = torch.distributions.Normal(values.unsqueeze(-1), 0.5).log_prob(DATA).sum(-1)
    expected = -plain_bound(prior + x - q, 0.5)
    torch.testing.assert_close(loss_on(RenyiELBO(0.5, 3), model, guide, values), expected)
    vectorized = RenyiELBO(0.5, 3, max_plate_nesting=1, vectorize_particles=True)
    torch.testing.assert_close(loss_on(vectorized, model, guide, values.unsqueeze(-1)), expected)


@pytest.mark.parametrize("alpha", [-math.inf, -1.0, 0.0, 0.5, 2.0, math.inf])
def test_one_particle_is_the_elbo(alpha: float) -> None:
    """SEMANTICS 45: K = 1 equals the evidence lower bound for every order."""
    values = draws(1)
    left = loss_on(RenyiELBO(alpha, 1), local_model, local_guide, values)
    torch.testing.assert_close(left, loss_on(Trace_ELBO(), local_model, local_guide, values), rtol=0, atol=1e-12)


@pytest.mark.parametrize("distance", [1e-3, 1e-6, 1e-9, -1e-9, -1e-6])
def test_orders_near_one_meet_the_elbo(distance: float) -> None:
    """SEMANTICS 45: alpha to 1 tends to the ELBO, and no digits are lost on the way."""
    values = draws(4)
    near = loss_on(RenyiELBO(1.0 + distance, 4), local_model, local_guide, values)
    elbo = loss_on(Trace_ELBO(num_particles=4), local_model, local_guide, values)
    spread = log_weights(values, DATA).var(0, correction=0).sum().item()
    # The first order in 1 - alpha is half the variance of the log weights.
    torch.testing.assert_close(near, elbo + 0.5 * distance * spread, rtol=0, atol=50 * distance**2 + 1e-12)


def test_bounds_are_ordered() -> None:
    """Non-increasing in alpha; in K non-decreasing below order 1, on average (Li and Turner 2016, theorem 2)."""
    weights = log_weights(draws(6), DATA)
    orders = [-math.inf, -3.0, -0.5, 0.0, 0.5, 0.999, 1.5, 4.0, math.inf]
    found = [-loss_on(RenyiELBO(alpha, 6), local_model, local_guide, draws(6)).item() for alpha in orders]
    assert found == sorted(found, reverse=True)
    averages = [
        torch.stack([plain_bound(weights[rows], 0.0).sum() for rows in torch.combinations(torch.arange(6), k)])
        .mean()
        .item()
        for k in (1, 2, 3, 6)
    ]
    assert averages == sorted(averages)


def test_minibatches_meet_the_full_bound() -> None:
    """SEMANTICS 48: the subsample's scale stands outside the exponent: the average over batches is the full bound."""
    values = draws(3)
    full = loss_on(RenyiELBO(0.0, 3), local_model, local_guide, values)
    batches = [[0, 1], [2, 3], [0, 2], [1, 3], [0, 3], [1, 2]]
    parts = [loss_on(RenyiELBO(0.0, 3), local_model, local_guide, values[:, batch], batch=batch) for batch in batches]
    torch.testing.assert_close(torch.stack(parts).mean(), full, rtol=1e-12, atol=1e-12)


def test_particles_share_the_minibatch() -> None:
    """A fresh subsample per particle would bias the bound: every particle of an estimate sees the same indices."""
    seen: list[list[int]] = []

    def model() -> None:
        with aleator.plate("data", 4, subsample_size=2) as indices:
            seen.append(indices.tolist())
            z = aleator.sample("z", dist.Normal(0.0, 1.0))
            aleator.sample("x", dist.Normal(z, 0.5), obs=DATA[indices])

    def guide() -> None:
        with aleator.plate("data", 4, subsample_size=2):
            aleator.sample("z", dist.Normal(0.0, 1.0))

    aleator.set_rng_seed(0)
    RenyiELBO(0.0, 8).loss(model, guide)
    assert len(seen) == 8
    assert all(indices == seen[0] for indices in seen)


def test_a_subsampled_plate_around_some_sites_only_is_refused() -> None:
    """SEMANTICS 48: its scale would stand inside a power of the weights."""

    def model() -> None:
        z = aleator.sample("z", dist.Normal(0.0, 1.0))
        with aleator.plate("data", 4, subsample_size=2) as indices:
            aleator.sample("x", dist.Normal(z, 0.5), obs=DATA[indices])

    def guide() -> None:
        aleator.sample("z", dist.Normal(0.0, 1.0))

    for estimator in (RenyiELBO(0.5), IWAE()):
        with pytest.raises(UnsupportedModelError, match=r"plate 'data' around site 'x' is subsampled.*Trace_ELBO"):
            estimator.loss(model, guide)


def test_a_scale_on_every_site_is_outside_and_tempering_inside() -> None:
    """A scale that every site carries multiplies the bound; one on some sites belongs to their log-probabilities."""
    values = draws(3)
    weights = log_weights(values, DATA)
    everywhere = loss_on(RenyiELBO(0.0, 3), handlers.scale(local_model, 2.5), handlers.scale(local_guide, 2.5), values)
    torch.testing.assert_close(everywhere, -2.5 * plain_bound(weights, 0.0).sum(), rtol=1e-12, atol=1e-12)

    def tempered() -> None:
        with aleator.plate("data", 4):
            z = aleator.sample("z", dist.Normal(torch.zeros((), dtype=torch.float64), 1.0))
            with handlers.scale(scale=0.5):
                aleator.sample("x", dist.Normal(z, 0.5), obs=DATA)

    likelihood = torch.distributions.Normal(values, 0.5).log_prob(DATA)
    expected = -plain_bound(weights - 0.5 * likelihood, 0.0).sum()
    found = loss_on(RenyiELBO(0.0, 3), tempered, local_guide, values)
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)


def test_a_weight_of_zero_takes_nothing_along() -> None:
    """A particle outside the model's support leaves the others' bound and gradient whole."""

    def model(theta: Tensor) -> None:
        z = aleator.sample("z", dist.Normal(theta, 1.0))
        aleator.factor("inside", torch.where(z > 0, 0.0, -math.inf))

    def guide(theta: Tensor) -> None:
        aleator.sample("z", dist.Normal(torch.zeros((), dtype=torch.float64), 1.0))

    theta = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    values = torch.tensor([-1.0, 0.5, 0.9], dtype=torch.float64)
    rows = iter(values)

    class Give(handlers.Messenger):
        def process_sample(self, site: Any) -> None:
            if site.name == "z" and site.value is None:
                site.value = next(rows)

    with Give(), validation_enabled(False):
        estimate = IWAE(num_particles=3).estimate(model, guide, theta)
    (gradient,) = torch.autograd.grad(estimate.surrogate, theta)
    normal = torch.distributions.Normal
    weights = normal(0.2, 1.0).log_prob(values[1:]) - normal(0.0, 1.0).log_prob(values[1:])
    torch.testing.assert_close(estimate.loss, math.log(3) - torch.logsumexp(weights, 0))
    torch.testing.assert_close(gradient, -(torch.softmax(weights, 0) * (values[1:] - 0.2)).sum())


@pytest.mark.parametrize("alpha", [1, 1.0, math.nan, True, "0", None])
def test_orders_that_are_none(alpha: Any) -> None:
    with pytest.raises(ValueError, match=r"RenyiELBO: (at alpha=1 .* Trace_ELBO|alpha must be a number)"):
        RenyiELBO(alpha)


def test_the_object_is_a_frozen_configuration() -> None:
    """The order comes first, by position; copies and texts carry it."""
    estimator = RenyiELBO(0.5, 3, 1)
    assert (estimator.alpha, estimator.num_particles, estimator.max_plate_nesting) == (0.5, 3, 1)
    assert repr(estimator) == "RenyiELBO(num_particles=3, max_plate_nesting=1, alpha=0.5)"
    assert pickle.loads(pickle.dumps(estimator)) == estimator
    assert RenyiELBO(0.5).num_particles == IWAE().num_particles == 2
    with pytest.raises(AttributeError):
        estimator.alpha = 0.1  # type: ignore[misc]  # what this test is about
