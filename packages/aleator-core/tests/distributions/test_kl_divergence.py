"""Divergences: torch's values, our own rules for wrappers, and a registry that leaves torch's alone."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import distributions as td

import aleator.distributions as dist
from aleator.randomness import rng


def _pairs():
    t = torch.tensor
    return {
        "Normal": [{"loc": t([0.5, 1.0]), "scale": t([1.0, 2.0])}, {"loc": 0.0, "scale": t([0.5, 1.5])}],
        "LogNormal": [{"loc": t([0.5, 1.0]), "scale": t([1.0, 2.0])}, {"loc": 0.0, "scale": t([0.5, 1.5])}],
        "HalfNormal": [{"scale": t([1.0, 2.0])}, {"scale": 1.5}],
        "Laplace": [{"loc": t([0.5, 1.0]), "scale": t([1.0, 2.0])}, {"loc": 0.0, "scale": 1.5}],
        "Gamma": [{"concentration": t([0.5, 1.0]), "rate": 2.0}, {"concentration": 1.5, "rate": t([1.0, 0.3])}],
        "Beta": [
            {"concentration1": t([0.5, 1.0]), "concentration0": 2.0},
            {"concentration1": 1.5, "concentration0": 3.0},
        ],
        "Exponential": [{"rate": t([0.5, 1.0])}, {"rate": 2.0}],
        "Poisson": [{"rate": t([0.5, 1.0])}, {"rate": 2.0}],
        "Geometric": [{"probs": t([0.5, 0.1])}, {"probs": 0.3}],
        "Gumbel": [{"loc": t([0.5, 1.0]), "scale": 2.0}, {"loc": 0.0, "scale": 1.5}],
        "Pareto": [{"scale": t([2.5, 2.0]), "alpha": 2.0}, {"scale": 1.5, "alpha": 3.0}],
        "Uniform": [{"low": t([0.0, 0.5]), "high": 1.0}, {"low": -1.0, "high": 2.0}],
        "Bernoulli": [{"probs": t([0.2, 0.7])}, {"logits": t([0.5, -0.3])}],
        "ContinuousBernoulli": [{"probs": t([0.2, 0.7])}, {"logits": t([0.5, -0.3])}],
        "Binomial": [{"total_count": 4, "probs": t([0.2, 0.7])}, {"total_count": 4, "probs": t([0.4, 0.3])}],
        "Categorical": [{"probs": t([[0.2, 0.8], [0.5, 0.5]])}, {"logits": t([0.5, -0.3])}],
        "OneHotCategorical": [{"probs": t([[0.2, 0.8], [0.5, 0.5]])}, {"logits": t([0.5, -0.3])}],
        "Dirichlet": [{"concentration": t([[0.2, 0.8], [1.5, 2.5]])}, {"concentration": t([0.5, 1.3])}],
        "MultivariateNormal": [
            {"loc": t([0.5, 1.0]), "scale_tril": t([[1.0, 0.0], [0.3, 0.8]])},
            {"loc": t([0.0, 0.0]), "covariance_matrix": t([[2.0, 0.1], [0.1, 1.0]])},
        ],
        "LowRankMultivariateNormal": [
            {"loc": t([0.5, 1.0]), "cov_factor": t([[1.0], [0.3]]), "cov_diag": t([0.5, 1.0])},
            {"loc": t([0.0, 0.0]), "cov_factor": t([[0.2], [0.3]]), "cov_diag": t([1.5, 1.0])},
        ],
    }


@pytest.mark.parametrize("name", _pairs())
@pytest.mark.parametrize("mixed", [False, True], ids=["ours", "ours-and-torchs"])
def test_equal_to_torchs(name, mixed):
    first, second = _pairs()[name]
    torchs = getattr(td, name)
    expected = td.kl_divergence(torchs(**first), torchs(**second))
    p = getattr(dist, name)(**first)
    q = torchs(**second) if mixed else getattr(dist, name)(**second)
    torch.testing.assert_close(dist.kl_divergence(p, q), expected)
    torch.testing.assert_close(td.kl_divergence(p, q), expected)
    # Torch's rules cannot see that one side has fewer dims than it stands for, unless its arguments are read broadcast.
    wide = dist.kl_divergence(
        p.expand((3, *expected.shape)), getattr(dist, name)(**second).expand((3, *expected.shape))
    )
    torch.testing.assert_close(wide, expected.expand(3, *expected.shape))


@pytest.mark.parametrize(
    ("p", "q"),
    [
        (("Beta", {"concentration1": 1.5, "concentration0": 2.0}), ("Gamma", {"concentration": 2.0, "rate": 1.0})),
        (("Exponential", {"rate": 2.0}), ("Normal", {"loc": 0.0, "scale": 1.5})),
        (("Uniform", {"low": 0.1, "high": 1.0}), ("Beta", {"concentration1": 1.5, "concentration0": 2.0})),
        (("Gumbel", {"loc": 0.1, "scale": 1.0}), ("Normal", {"loc": 0.0, "scale": 1.5})),
    ],
)
def test_equal_to_torchs_across_families(p, q):
    ours = [getattr(dist, name)(**keywords) for name, keywords in (p, q)]
    theirs = [getattr(td, name)(**keywords) for name, keywords in (p, q)]
    torch.testing.assert_close(dist.kl_divergence(*ours), td.kl_divergence(*theirs))


@pytest.mark.parametrize("left", [(0.3, 1.2), ("row", 1.2), (0.3, "row"), ("column", "row"), ("one", "one")])
@pytest.mark.parametrize("right", [(0.0, 1.0), (0.0, 2.0), (0.5, 1.0), ("row", "row"), ("one", 1.0), (0.0, "row")])
def test_normals_with_numbers_among_their_arguments(left, right):
    """Catches a shortcut for a standard normal that is taken where it does not hold, and a lost dim or gradient."""
    tensors = {
        "one": torch.tensor(0.7, dtype=torch.float64),
        "row": torch.tensor([0.4, 1.1, 2.0], dtype=torch.float64),
        "column": torch.tensor([[0.2], [1.7]], dtype=torch.float64),
    }

    def arguments(names):
        return [tensors[each].clone().requires_grad_() if isinstance(each, str) else each for each in names]

    p, q = arguments(left), arguments(right)
    found = dist.kl_divergence(dist.Normal(*p), dist.Normal(*q))
    expected_p, expected_q = (
        [torch.as_tensor(each, dtype=torch.float64).detach().requires_grad_() for each in pair] for pair in (p, q)
    )
    expected = td.kl_divergence(td.Normal(*expected_p), td.Normal(*expected_q))
    assert found.shape == expected.shape
    torch.testing.assert_close(found.double(), expected, rtol=1e-6, atol=1e-6)
    if found.requires_grad:
        found.sum().backward()
        expected.sum().backward()
        for ours, theirs in zip([*p, *q], [*expected_p, *expected_q], strict=True):
            if isinstance(ours, torch.Tensor):
                torch.testing.assert_close(ours.grad, theirs.grad)


def test_independent_and_transformed():
    p, q = dist.Normal(torch.randn(2, 3, 4), 1.0), dist.Normal(0.0, torch.rand(4) + 0.5).expand((2, 3, 4))
    whole = dist.kl_divergence(p, q)
    torch.testing.assert_close(dist.kl_divergence(p.to_event(2), q.to_event(2)), whole.sum((1, 2)))
    mixed = dist.kl_divergence(td.Independent(p, 1), q.to_event(1))
    torch.testing.assert_close(mixed, whole.sum(-1))
    transforms = [dist.ExpTransform()]
    lifted = [dist.TransformedDistribution(d, transforms) for d in (p, q)]
    torch.testing.assert_close(dist.kl_divergence(*lifted), whole)
    with pytest.raises(NotImplementedError, match="event shapes"):
        dist.kl_divergence(p.to_event(2), q.to_event(1))


MASKS = {
    "same": (torch.tensor([True, False]),) * 2,
    "both": (torch.tensor([True, False]), torch.tensor([True, True])),
    "left": (torch.tensor([True, False]), True),
    "right": (True, torch.tensor([False, True])),
    "crossed": (torch.tensor([True, False]), torch.tensor([False, True])),
    "left-off": (False, torch.tensor([True, False])),
    "right-off": (torch.tensor([True, False]), False),
    "off": (False, False),
}


@pytest.mark.parametrize("masks", MASKS.values(), ids=MASKS)
def test_masked_is_the_expectation_of_the_masked_difference(masks):
    # A rule that drops a mask, or lets one mask speak for both, is off by 0.3 or more; the noise is 0.02.
    p = dist.Normal(torch.tensor([0.5, -1.0]), torch.tensor([1.0, 0.7])).mask(masks[0])
    q = dist.Normal(torch.tensor([0.0, 0.3]), torch.tensor([1.5, 1.0])).mask(masks[1])
    with rng(0):
        draws = p.sample((40_000,))
    expected = (p.log_prob(draws) - q.log_prob(draws)).mean(0)
    found = dist.kl_divergence(p, q)
    assert found.shape == (2,)
    torch.testing.assert_close(found, expected, atol=0.03, rtol=0)
    torch.testing.assert_close(
        dist.kl_divergence(p.to_event(1), q.to_event(1)), found.sum(), msg="a mask inside an event was lost"
    )


def test_masked_keeps_the_dtype():
    p = dist.Normal(torch.zeros(2, dtype=torch.float64), 1.0)
    assert dist.kl_divergence(p.mask(False), p.mask(False)).dtype == torch.float64


def test_delta():
    q = dist.Normal(torch.zeros(2), 1.0)
    p = dist.Delta(torch.tensor([0.5, 1.0]), log_density=0.25)
    torch.testing.assert_close(dist.kl_divergence(p, q), 0.25 - q.log_prob(torch.tensor([0.5, 1.0])))


def test_own_rules_come_first_and_the_most_specific_wins():
    class Base(dist.Distribution):
        arg_constraints = {}  # noqa: RUF012  # torch's protocol

    class Derived(Base):
        pass

    @dist.register_kl(Base, td.Distribution)
    def general(p, q):
        return torch.tensor(1.0)

    @dist.register_kl(Derived, td.Distribution)
    def specific(p, q):
        return torch.tensor(2.0)

    normal = dist.Normal(0.0, 1.0)
    assert dist.kl_divergence(Base(), normal) == 1.0
    assert dist.kl_divergence(Derived(), normal) == 2.0
    assert dist.kl_divergence(Derived(), td.Normal(0.0, 1.0)) == 2.0
    assert all(Base not in pair for pair in td.kl._KL_REGISTRY)
    with pytest.raises(NotImplementedError):
        dist.kl_divergence(normal, Base())

    @dist.register_kl(Base, dist.Normal)
    def crossing(p, q):
        return torch.tensor(3.0)

    with pytest.warns(RuntimeWarning, match="equally well"):
        assert dist.kl_divergence(Derived(), normal) == 2.0
    with pytest.raises(TypeError, match="subclasses of Distribution"):
        dist.register_kl(int, Base)


def test_no_warning_for_our_own_pairs():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        masked = dist.Normal(torch.zeros(2), 1.0).mask(torch.tensor([True, False]))
        dist.kl_divergence(dist.Delta(torch.zeros(2)), masked)
        dist.kl_divergence(masked, dist.Normal(torch.zeros(2), 1.0))


def test_torchs_registries_are_as_torch_made_them():
    assert all(not given.__module__.startswith("aleator") for pair in td.kl._KL_REGISTRY for given in pair)
    for registry in (td.biject_to, td.transform_to):
        assert all(not kind.__module__.startswith("aleator") for kind in registry._registry)
