"""Densities whose derivative is written out: equal to the plain formulas in value, first and second derivative."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx

import aleator.distributions as dist
from aleator.distributions import own_derivatives
from written_derivatives import Density, assert_equal, taken_at_every_size, tensors

SHAPES = [(), (3,), (2, 1), (2, 3), (1, 3)]


def normal(value: Tensor, loc: Any, scale: Any) -> Tensor:
    return dist.Normal(loc, scale).log_prob(value)


def standard(value: Tensor) -> Tensor:
    return dist.Normal(0.0, 1.0).log_prob(value)


def narrow(value: Tensor, loc: Tensor) -> Tensor:
    return dist.Normal(loc, 0.3).log_prob(value)


def half_normal(value: Tensor, scale: Tensor) -> Tensor:
    return dist.HalfNormal(scale).log_prob(value)


def log_normal(value: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    return dist.LogNormal(loc, scale).log_prob(value)


def bernoulli(value: Tensor, logits: Tensor) -> Tensor:
    return dist.Bernoulli(logits=logits).log_prob(value)


def plain_normal(value: Tensor, loc: Tensor, scale: Tensor) -> Tensor:
    """Torch's own operations, differentiated by autograd."""
    return torch.distributions.Normal(loc, scale, validate_args=False).log_prob(value)


def plain_bernoulli(value: Tensor, logits: Tensor) -> Tensor:
    return value * logits - torch.nn.functional.softplus(logits, threshold=1e9)


@pytest.fixture(autouse=True)
def always_own(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Take the written-out derivative at every size, and list which were taken."""
    return taken_at_every_size(monkeypatch, own_derivatives, "_BernoulliLogProb", "_NormalLogProb", "_SquareLogProb")


@pytest.mark.parametrize("shapes", list(product(SHAPES, SHAPES, SHAPES)), ids=str)
def test_a_normal_over_every_mix_of_shapes(shapes: tuple[tuple[int, ...], ...], always_own: list[str]) -> None:
    assert_equal(normal, plain_normal, tensors(*shapes))
    assert set(always_own) == {"_NormalLogProb"}


@pytest.mark.parametrize("shapes", list(product(SHAPES, SHAPES)), ids=str)
def test_a_bernoulli_over_every_mix_of_shapes(shapes: tuple[tuple[int, ...], ...], always_own: list[str]) -> None:
    assert_equal(bernoulli, plain_bernoulli, tensors(*shapes))
    assert set(always_own) == {"_BernoulliLogProb"}


@pytest.mark.parametrize("asked", range(1, 8))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_any_inputs_may_ask_for_a_gradient(asked: int, dtype: torch.dtype, always_own: list[str]) -> None:
    tolerance = 1e-12 if dtype is torch.float64 else 2e-5
    assert_equal(normal, plain_normal, tensors((2, 3), (3,), (2, 1), dtype=dtype, asked=asked), tolerance)
    if asked < 4:
        assert_equal(bernoulli, plain_bernoulli, tensors((2, 3), (2, 3), dtype=dtype, asked=asked), tolerance)
    assert always_own


@pytest.mark.parametrize(
    ("density", "shapes"),
    [
        (normal, [(2, 3), (3,), (2, 1)]),
        (standard, [(2, 3)]),
        (narrow, [(2, 3), (3,)]),
        (half_normal, [(2, 3), (3,)]),
        (log_normal, [(2, 3), (3,), (2, 1)]),
        (bernoulli, [(3,), (2, 3)]),
        (bernoulli, [(2, 3), (2, 3)]),
    ],
)
def test_finite_differences(density: Density, shapes: list[tuple[int, ...]]) -> None:
    inputs = tensors(*shapes)
    assert torch.autograd.gradcheck(density, inputs, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(density, inputs)


def test_an_expanded_distribution_scores_over_its_whole_batch() -> None:
    value, loc, scale = tensors((3,), (3,), (3,))
    for single in (dist.Bernoulli(logits=loc), dist.Normal(loc, scale), dist.Normal(loc, 0.3)):
        log_prob = single.expand((4, 3)).log_prob(value)
        assert log_prob.shape == (4, 3)
        (whole,) = torch.autograd.grad(log_prob.sum(), loc)
        (alone,) = torch.autograd.grad(single.log_prob(value).sum(), loc)
        torch.testing.assert_close(whole, 4 * alone)


def test_the_gradient_of_a_sure_bit_keeps_its_digits() -> None:
    """A difference of the value and a rounded probability would be 0 in float32."""
    logits = torch.tensor([30.0], requires_grad=True)
    (slope,) = torch.autograd.grad(bernoulli(torch.ones(1), logits).sum(), logits)
    torch.testing.assert_close(slope, torch.tensor([9.357623e-14]))


def test_bits_of_any_dtype_are_scored() -> None:
    logits = torch.tensor([0.5, -1.0], requires_grad=True)
    for dtype in (torch.bool, torch.int64, torch.float32):
        value = torch.tensor([1, 0]).to(dtype)
        torch.testing.assert_close(bernoulli(value, logits), plain_bernoulli(value.float(), logits))
    assert bernoulli(torch.tensor([1.0, 0.0]).double(), logits).dtype is torch.float64


def test_a_graph_may_be_walked_twice() -> None:
    inputs = tensors((2, 3), (3,), (2, 1))
    total = normal(*inputs).sum() + bernoulli(*inputs[::2]).sum()
    first = torch.autograd.grad(total, inputs, retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(total, inputs), first)


# Torch scripts its own rules of forward mode when they are first used, and warns that scripting is deprecated.
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_transforms_and_captures_take_the_plain_formula(always_own: list[str]) -> None:
    value, loc, scale = tensors((2, 3), (2, 3), (2, 3), asked=0)

    def total(loc: Tensor) -> Tensor:
        return normal(value, loc, scale).sum() + bernoulli(value, loc).sum() + standard(loc).sum()

    leaf = loc.clone().requires_grad_()
    (truth,) = torch.autograd.grad(total(leaf), leaf)
    assert always_own
    always_own.clear()
    torch.testing.assert_close(torch.func.grad(total)(loc), truth)
    torch.testing.assert_close(torch.func.vmap(torch.func.grad(total), in_dims=0)(loc[None])[0], truth)
    tangent = torch.ones_like(loc)
    torch.testing.assert_close(torch.func.jvp(total, (loc,), (tangent,))[1], truth.sum())
    torch.testing.assert_close(make_fx(torch.func.grad(total))(loc)(loc), truth)
    with forward_ad.dual_level():
        dual = total(forward_ad.make_dual(leaf, tangent))
        torch.testing.assert_close(forward_ad.unpack_dual(dual).tangent, truth.sum())
    assert not always_own


def test_small_tensors_and_undifferentiated_ones_take_the_plain_formula(
    always_own: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    value, logits = tensors((2, 3), (2, 3))
    with torch.no_grad():
        bernoulli(value, logits)
    bernoulli(value.detach(), logits.detach())
    monkeypatch.setattr(own_derivatives, "LEAST_ELEMENTS", 7)
    bernoulli(value, logits)
    assert not always_own
    monkeypatch.setattr(own_derivatives, "LEAST_ELEMENTS", 6)
    bernoulli(value, logits)
    assert always_own == ["_BernoulliLogProb"]
