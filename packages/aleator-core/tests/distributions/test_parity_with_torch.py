"""Every distribution gives what torch's of the same name gives on the same arguments."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch import Tensor
from torch import distributions as td

import aleator.distributions as dist

QUANTITIES = ("mean", "mode", "variance", "stddev")
UNREADABLE = (NotImplementedError, AttributeError)

# Draws that are not torch's bit for bit, and why.
NOT_BIT_EQUAL = {
    "Wishart": "torch draws again whatever an inverted check calls singular; ours keeps the first draw",
}
# Logits are normalized by one log_softmax kernel, not by logsumexp and a difference: the last bit may differ.
NEARLY_EQUAL = {"RelaxedOneHotCategorical"}

TORCH_FAILS_IN_DOUBLE = "torch compares the concentration with a float32 zero, and raises in float64"


def value_of(call):
    """The value of a quantity, or the kind of its absence."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return call()
    except UNREADABLE:
        return None


def assert_same(ours, theirs):
    if theirs is None:
        return
    if isinstance(theirs, Tensor):
        torch.testing.assert_close(ours, theirs, equal_nan=True, rtol=2e-5, atol=2e-6)
    else:
        assert ours == pytest.approx(theirs)


def points(case, dtype=torch.float32):
    """Values to score: torch's own draws, several per batch element."""
    torch.manual_seed(3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return case.theirs(**case.keywords(dtype)).sample((4,))


def test_every_torch_distribution_is_here():
    names = {name for name in td.__all__ if isinstance(getattr(td, name), type)}
    missing = sorted(name for name in names if not hasattr(dist, name))
    assert not missing, f"torch has {missing}, which aleator.distributions lacks"
    for name in names:
        ours, theirs = getattr(dist, name), getattr(td, name)
        assert issubclass(ours, theirs)
        if issubclass(theirs, td.Distribution):
            assert issubclass(ours, dist.Distribution)
            assert ours is not theirs
    assert {"biject_to", "transform_to", "kl_divergence", "register_kl", "identity_transform"} <= set(dist.__all__)


def test_hierarchy_follows_torchs(case):
    for name in td.__all__:
        theirs = getattr(td, name)
        if isinstance(theirs, type) and issubclass(theirs, td.Distribution) and name not in ("Independent",):
            assert isinstance(case.ours(), getattr(dist, name)) == isinstance(case.theirs(), theirs), name


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_shapes_and_flags(case, dtype):
    ours, theirs = case.pair(dtype)
    assert ours.batch_shape == theirs.batch_shape
    assert ours.event_shape == theirs.event_shape
    assert ours.has_rsample == theirs.has_rsample
    assert ours.has_enumerate_support == theirs.has_enumerate_support
    assert ours.shape((2,)) == (2, *theirs.batch_shape, *theirs.event_shape)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_arguments_read_as_torchs(case, dtype):
    ours, theirs = case.pair(dtype)
    for name in [*theirs.arg_constraints, "loc", "scale", "probs", "logits", "temperature", "param_shape"]:
        expected = getattr(theirs, name, None)
        if isinstance(expected, Tensor):
            torch.testing.assert_close(getattr(ours, name), expected, rtol=2e-5, atol=2e-6)
        elif expected is not None:
            assert getattr(ours, name) == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_log_prob(case, dtype):
    if dtype == torch.float64 and case.name == "GeneralizedPareto":
        pytest.skip(TORCH_FAILS_IN_DOUBLE)
    ours, theirs = case.pair(dtype)
    values = points(case, dtype)
    assert_same(ours.log_prob(values), theirs.log_prob(values))
    assert_same(ours.log_prob(values[0]), theirs.log_prob(values[0]))


def test_quantities(case):
    ours, theirs = case.pair()
    for name in QUANTITIES:
        assert_same(value_of(lambda name=name: getattr(ours, name)), value_of(lambda name=name: getattr(theirs, name)))
    assert_same(value_of(ours.entropy), value_of(theirs.entropy))


def test_distribution_functions(case):
    ours, theirs = case.pair()
    values = points(case)
    assert_same(value_of(lambda: ours.cdf(values)), value_of(lambda: theirs.cdf(values)))
    levels = torch.tensor([0.1, 0.5, 0.9]).reshape(3, *[1] * len(theirs.batch_shape))
    assert_same(value_of(lambda: ours.icdf(levels)), value_of(lambda: theirs.icdf(levels)))


def test_support(case):
    ours, theirs = case.pair()
    values = points(case)
    shifted = torch.cat([values, values - 1.5, 2 * values + 0.25])
    assert torch.equal(ours.support.check(shifted), theirs.support.check(shifted))
    assert ours.support.event_dim == theirs.support.event_dim
    assert ours.support.is_discrete == theirs.support.is_discrete


@pytest.mark.parametrize("expand", [False, True])
def test_enumerate_support(case, expand):
    ours, theirs = case.pair()
    try:
        expected = theirs.enumerate_support(expand)
    except NotImplementedError:
        with pytest.raises(NotImplementedError):
            ours.enumerate_support(expand)
    else:
        assert torch.equal(ours.enumerate_support(expand), expected)
        assert ours.enumerate_support(expand).dtype == expected.dtype


@pytest.mark.parametrize("sample_shape", [(), (3,), (2, 5)])
def test_draws_are_torchs_bit_for_bit(case, sample_shape):
    if case.name in NOT_BIT_EQUAL:
        pytest.skip(NOT_BIT_EQUAL[case.name])
    ours, theirs = case.pair()
    same = torch.equal if case.name not in NEARLY_EQUAL else torch.allclose
    for method in ("sample", "rsample") if theirs.has_rsample else ("sample",):
        torch.manual_seed(7)
        expected = getattr(theirs, method)(sample_shape)
        following = torch.rand(1)
        torch.manual_seed(7)
        found = getattr(ours, method)(sample_shape)
        assert found.dtype == expected.dtype
        assert same(found, expected), f"{method}: {found} against {expected}"
        assert torch.equal(torch.rand(1), following), "the stream went on differently"


def test_draws_of_large_tensors_are_torchs_too():
    # Torch fills 16 numbers and more by a vectorized kernel with another order of draws.
    for name, keywords in (
        ("Normal", {"loc": torch.randn(50, 3).mT, "scale": 2.0}),
        ("Exponential", {"rate": torch.rand(40) + 0.1}),
        ("Cauchy", {"loc": torch.randn(40), "scale": 1.5}),
        ("Laplace", {"loc": torch.zeros(1).expand(40), "scale": 1.5}),
    ):
        torch.manual_seed(1)
        expected = getattr(td, name)(**keywords).rsample()
        torch.manual_seed(1)
        assert torch.equal(getattr(dist, name)(**keywords).rsample(), expected), name


def gradients(result, keywords):
    leaves = [value for value in keywords.values() if isinstance(value, Tensor) and value.requires_grad]
    found = torch.autograd.grad(result.sum(), leaves, allow_unused=True)
    return [torch.zeros_like(leaf) if grad is None else grad for leaf, grad in zip(leaves, found, strict=True)]


def test_gradient_of_log_prob(case):
    if case.name == "GeneralizedPareto":
        pytest.skip(TORCH_FAILS_IN_DOUBLE)
    values = points(case, torch.float64)
    if values.is_floating_point():
        values.requires_grad_(not case.theirs().support.is_discrete)
    found = []
    for make in (case.ours, case.theirs):
        keywords = case.keywords(torch.float64, requires_grad=True)
        d = make(**keywords)
        result = d.log_prob(values)
        if not result.requires_grad:
            return
        found.append(gradients(result, {**keywords, "value": values}))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-8, equal_nan=True)


def test_gradient_of_rsample(case):
    if not case.theirs().has_rsample or case.name in NOT_BIT_EQUAL:
        pytest.skip("no reparameterized draw to compare")
    found = []
    for make in (case.ours, case.theirs):
        keywords = case.keywords(torch.float64, requires_grad=True)
        torch.manual_seed(5)
        draws = make(**keywords).rsample((6,))
        if not draws.requires_grad:
            return
        found.append(gradients(draws**2, keywords))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-8, equal_nan=True)


def test_sample_has_no_gradient(case):
    d = case.ours(**case.keywords(torch.float64, requires_grad=True))
    assert not d.sample((2,)).requires_grad


def test_numbers_take_the_default_dtype():
    torch.set_default_dtype(torch.float64)
    try:
        for name, arguments in (("Normal", (0.0, 1.0)), ("Gamma", (2, 3)), ("Beta", (1.0, 2.0)), ("Poisson", (3.0,))):
            d = getattr(dist, name)(*arguments)
            assert d().dtype == torch.float64
            assert d.log_prob(d()).dtype == torch.float64
            assert d.mean.dtype == torch.float64
    finally:
        torch.set_default_dtype(torch.float32)


def test_a_tensor_decides_the_dtype():
    d = dist.Normal(0, torch.ones(2, dtype=torch.float64))
    assert d.loc.dtype == d.rsample().dtype == torch.float64
    # Torch would make the number an integer here, and fail to draw.
    assert dist.Normal(torch.zeros(2, dtype=torch.float64), 1).scale.dtype == torch.float64


def test_torchs_global_switch_has_no_effect():
    before = td.Distribution._validate_args
    try:
        for flag in (True, False):
            td.Distribution.set_default_validate_args(flag)
            with pytest.raises(ValueError, match="scale"):
                dist.Normal(torch.zeros(2), torch.tensor([1.0, -1.0]))
            with pytest.raises(ValueError, match="scale"):
                dist.Normal(0.0, -1.0)
            dist.Normal(0.0, -1.0, validate_args=False)
            assert dist.Normal(0.0, 1.0)._validate_args
    finally:
        td.Distribution.set_default_validate_args(before)
