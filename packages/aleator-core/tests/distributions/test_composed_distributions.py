"""Transformed distributions and mixtures, of our own parts and of torch's, against torch's."""

from __future__ import annotations

import pytest
import torch
from torch import distributions as td

import aleator.distributions as dist
from aleator.randomness import rng

TRANSFORMS = {
    "exp": lambda: [dist.ExpTransform()],
    "chain": lambda: [dist.AffineTransform(1.0, 2.0), dist.SigmoidTransform()],
    "stick": lambda: [dist.StickBreakingTransform()],
    "affine-tensor": lambda: [dist.AffineTransform(torch.zeros(4, 3), torch.ones(3) * 2)],
    "none": lambda: [],
}


@pytest.mark.parametrize("transforms", TRANSFORMS.values(), ids=TRANSFORMS)
@pytest.mark.parametrize("base", ["ours", "torchs"])
def test_transformed(transforms, base):
    loc, scale = torch.randn(3), torch.rand(3) + 0.5
    parts = {"ours": dist.Normal(loc, scale), "torchs": td.Normal(loc, scale)}
    ours = dist.TransformedDistribution(parts[base], transforms())
    theirs = td.TransformedDistribution(parts["torchs"], transforms())
    assert (ours.batch_shape, ours.event_shape) == (theirs.batch_shape, theirs.event_shape)
    for method in ("sample", "rsample"):
        torch.manual_seed(0)
        expected = getattr(theirs, method)((5,))
        torch.manual_seed(0)
        found = getattr(ours, method)((5,))
        assert torch.equal(found, expected)
        torch.testing.assert_close(ours.log_prob(found), theirs.log_prob(found))
    wide = ours.expand((2, *ours.batch_shape))
    assert wide.log_prob(wide.sample()).shape == wide.batch_shape
    assert wide.sample().shape == wide.batch_shape + ours.event_shape
    process = torch.get_rng_state()
    with rng(1):
        first = ours.sample()
    with rng(1):
        assert torch.equal(ours.sample(), first)
    assert torch.equal(torch.get_rng_state(), process)


def test_lean_transforms_know_their_base_and_transforms():
    for name, arguments in (
        ("LogNormal", (0.3, torch.ones(2))),
        ("HalfNormal", (torch.ones(2),)),
        ("HalfCauchy", (2.0,)),
        ("Gumbel", (torch.zeros(2), 1.5)),
        ("Weibull", (torch.ones(2), 1.5)),
        ("Pareto", (torch.ones(2), 2.5)),
        ("Kumaraswamy", (torch.ones(2), 2.5)),
        ("InverseGamma", (torch.ones(2), 2.5)),
        ("RelaxedBernoulli", (torch.tensor(0.7), torch.tensor([0.2, 0.6]))),
        ("RelaxedOneHotCategorical", (torch.tensor(0.7), torch.tensor([0.2, 0.6]))),
    ):
        d = getattr(dist, name)(*arguments).expand_by((3,))
        generic = dist.TransformedDistribution(d.base_dist, d.transforms)
        assert (generic.batch_shape, generic.event_shape) == (d.batch_shape, d.event_shape)
        with rng(0):
            value = d.sample()
        if "Half" not in name:  # the absolute value has two origins
            torch.testing.assert_close(generic.log_prob(value), d.log_prob(value), rtol=1e-4, atol=1e-5)
        with rng(0):
            torch.testing.assert_close(generic.sample(), value)


@pytest.mark.parametrize("event_dim", [0, 1])
def test_mixture(event_dim):
    probs = torch.tensor([[0.2, 0.8], [0.5, 0.5]])
    shape = (2, 2, 3)[: 2 + event_dim]
    loc = torch.randn(shape)

    def component(module):
        base = module.Normal(loc, 1.0)
        return module.Independent(base, event_dim) if event_dim else base

    ours = dist.MixtureSameFamily(dist.Categorical(probs), component(dist))
    theirs = td.MixtureSameFamily(td.Categorical(probs), component(td))
    assert (ours.batch_shape, ours.event_shape) == (theirs.batch_shape, theirs.event_shape)
    torch.manual_seed(0)
    value = theirs.sample((4,))
    torch.manual_seed(0)
    assert torch.equal(ours.sample((4,)), value)
    torch.testing.assert_close(ours.log_prob(value), theirs.log_prob(value))
    torch.testing.assert_close(ours.mean, theirs.mean)
    torch.testing.assert_close(ours.variance, theirs.variance)
    assert torch.equal(ours.support.check(value), theirs.support.check(value))
    wide = ours.expand((3, 2))
    torch.testing.assert_close(wide.log_prob(value[0]), theirs.log_prob(value[0]).expand(3, 2))
    assert wide.sample().shape == (3, 2, *ours.event_shape)
    torch.testing.assert_close(wide.mean, theirs.mean.expand(3, 2, *ours.event_shape))
    mixed = dist.MixtureSameFamily(td.Categorical(probs), component(td))
    with rng(1):
        first = mixed.sample()
    with rng(1):
        assert torch.equal(mixed.sample(), first)
    if not event_dim:
        torch.testing.assert_close(ours.cdf(value), theirs.cdf(value))


def test_one_mixture_weight_serves_a_batch_of_components_and_the_reverse():
    shared = dist.MixtureSameFamily(dist.Categorical(torch.ones(2)), dist.Normal(torch.zeros(3, 2), 1.0))
    assert shared.batch_shape == (3,)
    assert shared.sample().shape == (3,)
    many = dist.MixtureSameFamily(dist.Categorical(torch.ones(3, 2)), dist.Normal(torch.zeros(2), 1.0))
    assert many.batch_shape == (3,)
    assert many.log_prob(torch.zeros(3)).shape == (3,)


def test_wishart_moments():
    # Torch's sampler differs (it draws again); this holds ours to the closed form. A wrong degree of freedom in one
    # chi-squared draw moves a diagonal element by 1, ten standard errors.
    matrix = torch.tensor([[1.5, 0.3], [0.3, 0.9]], dtype=torch.float64)
    d = dist.Wishart(torch.tensor(4.0, dtype=torch.float64), covariance_matrix=matrix)
    with rng(0):
        draws = d.sample((20_000,))
    standard_error = (d.variance / 20_000).sqrt()

    def fits(mean):
        return bool(((draws.mean(0) - mean).abs() < 5 * standard_error).all())

    assert fits(d.mean)
    assert not fits(d.mean * 5 / 4), "one degree of freedom more would pass"
    assert not fits(d.mean.diagonal().diag()), "a missing correlation would pass"
    assert (torch.linalg.eigvalsh(draws) > 0).all()
