"""Densities of whole events with a written-out derivative: equal to sums of the plain formulas, in all derivatives."""

from __future__ import annotations

from itertools import product
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.fx.experimental.proxy_tensor import make_fx

import aleator.distributions as dist
from aleator.distributions import event_densities, own_derivatives
from written_derivatives import Density, assert_equal, taken_at_every_size, tensors

SHAPES = [(), (3,), (2, 1), (2, 3), (1, 3), (4, 1, 1), (4, 2, 3)]


def normal(value: Tensor, loc: Any, scale: Any, ndims: int = 1) -> Tensor:
    return dist.Normal(loc, scale).expand((4, 2, 3)).to_event(ndims).log_prob(value)


def standard(value: Tensor) -> Tensor:
    return dist.Normal(0.0, 1.0).expand((3,)).to_event(1).log_prob(value)


def narrow(value: Tensor, loc: Tensor, ndims: int = 1) -> Tensor:
    return dist.Normal(loc, 0.3).expand((4, 2, 3)).to_event(ndims).log_prob(value)


def bernoulli(value: Tensor, logits: Tensor, ndims: int = 1) -> Tensor:
    return dist.Bernoulli(logits=logits).to_event(ndims).log_prob(value)


def plain_normal(value: Tensor, loc: Tensor, scale: Any, ndims: int = 1) -> Tensor:
    """Torch's own operations, differentiated by autograd."""
    scale = torch.as_tensor(scale, dtype=loc.dtype)
    log_prob = torch.distributions.Normal(loc, scale, validate_args=False).expand((4, 2, 3)).log_prob(value)
    return log_prob.sum(tuple(range(-ndims, 0)))


def plain_bernoulli(value: Tensor, logits: Tensor, ndims: int = 1) -> Tensor:
    log_prob = value * logits - torch.nn.functional.softplus(logits, threshold=1e9)
    return log_prob.sum(tuple(range(-ndims, 0)))


@pytest.fixture(autouse=True)
def always_own(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Take the written-out derivative at every size, and list which were taken."""
    return taken_at_every_size(monkeypatch, event_densities, "_BernoulliEvent", "_NormalEvent", "_SquareEvent")


@pytest.mark.parametrize("ndims", [1, 2, 3])
@pytest.mark.parametrize("shapes", list(product(SHAPES, SHAPES)), ids=str)
def test_a_normal_over_every_mix_of_shapes(shapes: tuple[tuple[int, ...], ...], ndims: int) -> None:
    inputs = tensors((4, 2, 3), *shapes)
    assert_equal(
        lambda value, loc, scale: normal(value, loc, scale, ndims),
        lambda value, loc, scale: plain_normal(value, loc, scale, ndims),
        inputs,
    )
    assert_equal(
        lambda value, loc: narrow(value, loc, ndims),
        lambda value, loc: plain_normal(value, loc, 0.3, ndims),
        inputs[:2],
    )


def test_each_form_has_its_function(always_own: list[str]) -> None:
    value, loc, scale = tensors((4, 2, 3), (3,), (2, 1))
    normal(value, loc, scale)
    narrow(value, loc)
    standard(value)
    bernoulli(loc, value)
    assert always_own == ["_NormalEvent", "_SquareEvent", "_SquareEvent", "_BernoulliEvent"]


@pytest.mark.parametrize("ndims", [1, 2, 3])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_a_bernoulli_over_every_mix_of_shapes(shape: tuple[int, ...], ndims: int) -> None:
    assert_equal(
        lambda value, logits: bernoulli(value, logits, ndims),
        lambda value, logits: plain_bernoulli(value, logits, ndims),
        tensors(shape, (4, 2, 3)),
    )


@pytest.mark.parametrize("asked", range(1, 8))
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_any_inputs_may_ask_for_a_gradient(asked: int, dtype: torch.dtype, always_own: list[str]) -> None:
    tolerance = 1e-12 if dtype is torch.float64 else 3e-5
    assert_equal(normal, plain_normal, tensors((4, 2, 3), (3,), (2, 1), dtype=dtype, asked=asked), tolerance)
    if asked < 4:
        assert_equal(bernoulli, plain_bernoulli, tensors((3,), (4, 2, 3), dtype=dtype, asked=asked), tolerance)
    assert always_own


@pytest.mark.parametrize(
    ("density", "shapes"),
    [
        (normal, [(4, 2, 3), (3,), (2, 1)]),
        (normal, [(4, 2, 3), (4, 2, 3), (4, 2, 3)]),
        (standard, [(2, 3)]),
        (narrow, [(4, 2, 3), (3,)]),
        (bernoulli, [(3,), (4, 2, 3)]),
        (bernoulli, [(4, 2, 3), (4, 2, 3)]),
    ],
)
def test_finite_differences(density: Density, shapes: list[tuple[int, ...]]) -> None:
    inputs = tensors(*shapes)
    assert torch.autograd.gradcheck(density, inputs, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(density, inputs)


def test_a_graph_may_be_walked_twice_and_left_in_part() -> None:
    """Would fail if what forward kept were written over in a pass that is not the last."""
    value, loc, scale = tensors((4, 2, 3), (4, 2, 3), (4, 2, 3))
    total = normal(value, loc, scale).sum() + bernoulli(loc, scale).sum() + standard(value).sum()
    first = torch.autograd.grad(total, (value, loc, scale), retain_graph=True)
    (again,) = torch.autograd.grad(total, scale, retain_graph=True)
    torch.testing.assert_close(again, first[2], rtol=0, atol=0)
    torch.testing.assert_close(torch.autograd.grad(total, (value, loc, scale)), first, rtol=0, atol=0)


def test_one_graph_holds_a_density_and_is_differentiated_twice_over() -> None:
    """A gradient with a graph of its own reads what forward kept once more."""
    value, logits = tensors((3,), (4, 2, 3), asked=2)
    log_prob = bernoulli(value, logits)
    (first,) = torch.autograd.grad(log_prob.sum(), logits, create_graph=True)
    (second,) = torch.autograd.grad(first.sum(), logits)
    probs = logits.sigmoid()
    torch.testing.assert_close(second, -probs * (1 - probs))
    torch.testing.assert_close(first, value - probs)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_sure_bits_keep_their_digits(dtype: torch.dtype) -> None:
    """Would fail if the logarithm of a rounded 1 + exp(-l) were taken, or a difference of large numbers."""
    logits = torch.tensor([[30.0, 25.0], [-30.0, -25.0], [80.0, 40.0]], dtype=dtype, requires_grad=True)
    value = torch.tensor([[1.0, 1.0], [0.0, 0.0], [0.0, 1.0]], dtype=dtype)
    log_prob = bernoulli(value, logits)
    rare = torch.tensor([30.0, 25.0], dtype=torch.float64).neg().exp().log1p()
    truth = torch.stack([-rare.sum(), -rare.sum(), torch.tensor(-80.0, dtype=torch.float64)])
    torch.testing.assert_close(log_prob[::2].double(), truth[::2], rtol=1e-6, atol=0)
    torch.testing.assert_close(log_prob[1].double(), truth[1], rtol=0, atol=1e-5)  # less the logit, which is large
    (slope,) = torch.autograd.grad(log_prob.sum(), logits)
    # Where the bit is 0 the slope is a difference, as it is in torch where the bit is 1: right to rounding.
    torch.testing.assert_close(slope[0].double(), (-logits[0].detach().double()).sigmoid(), rtol=1e-5, atol=0)
    assert slope[1:].flatten().tolist() == pytest.approx([0.0, 0.0, -1.0, 0.0], abs=1e-10)


def test_bits_of_any_dtype_are_scored(always_own: list[str]) -> None:
    logits = torch.tensor([0.5, -1.0], requires_grad=True)
    for dtype in (torch.bool, torch.int64, torch.float32):
        value = torch.tensor([1, 0]).to(dtype)
        torch.testing.assert_close(bernoulli(value, logits), plain_bernoulli(value.float(), logits))
    assert always_own
    assert bernoulli(torch.tensor([1.0, 0.0]).double(), logits).dtype is torch.float64


def test_an_event_that_is_expanded_counts_once_for_each_batch_element() -> None:
    value, loc, scale = tensors((3,), (3,), (3,))
    for single in (dist.Normal(loc, scale), dist.Normal(loc, 0.3), dist.Bernoulli(logits=loc)):
        event = single.to_event(1)
        log_prob = event.expand((4,)).log_prob(value)
        assert log_prob.shape == (4,)
        (whole,) = torch.autograd.grad(log_prob.sum(), loc)
        (alone,) = torch.autograd.grad(event.log_prob(value), loc)
        torch.testing.assert_close(whole, 4 * alone)


# Torch scripts its own rules of forward mode when they are first used, and warns that scripting is deprecated.
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_transforms_and_captures_take_the_plain_formula(always_own: list[str]) -> None:
    value, loc, scale = tensors((4, 2, 3), (4, 2, 3), (4, 2, 3), asked=0)

    def total(loc: Tensor) -> Tensor:
        return normal(value, loc, scale).sum() + bernoulli(value, loc).sum() + standard(loc).sum()

    leaf = loc.clone().requires_grad_()
    (truth,) = torch.autograd.grad(total(leaf), leaf)
    assert always_own
    always_own.clear()
    torch.testing.assert_close(torch.func.grad(total)(loc), truth)
    torch.testing.assert_close(torch.func.jvp(total, (loc,), (torch.ones_like(loc),))[1], truth.sum())
    torch.testing.assert_close(make_fx(torch.func.grad(total))(loc)(loc), truth)
    assert not always_own


def test_small_events_take_the_plain_formula(always_own: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    value, loc, scale = tensors((4, 2, 3), (4, 2, 3), (4, 2, 3))
    monkeypatch.setattr(own_derivatives, "LEAST_ELEMENTS", 25)
    normal(value, loc, scale)
    standard(value)
    bernoulli(value, loc)
    assert not always_own
