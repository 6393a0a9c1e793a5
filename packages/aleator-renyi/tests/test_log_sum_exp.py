"""The logarithm of a sum of weights with its derivative written out: as the function that torch differentiates."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx

from aleator.ops import logsumexp
from aleator_renyi import log_sum_exp as written_out
from aleator_renyi.bounds import bound
from aleator_renyi.log_sum_exp import log_sum_exp


def weights(*shape: int, dtype: torch.dtype = torch.float64) -> Tensor:
    source = torch.Generator().manual_seed(2)
    return (3 * torch.randn(shape, generator=source, dtype=dtype)).requires_grad_()


@pytest.mark.parametrize("shape", [(4,), (1,), (4, 3), (1, 3), (4, 2, 3)])
def test_finite_differences(shape: tuple[int, ...]) -> None:
    assert torch.autograd.gradcheck(log_sum_exp, weights(*shape), check_batched_grad=True)
    assert torch.autograd.gradgradcheck(log_sum_exp, weights(*shape))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("shift", [0.0, 1e4, -1e4])
def test_value_and_gradient_are_those_of_the_plain_function(shift: float, dtype: torch.dtype) -> None:
    log_weight = weights(4, 3, dtype=dtype)
    found = []
    for function in (log_sum_exp, lambda each: logsumexp(each, 0)):
        total = function(log_weight + shift)
        found.append((total, *torch.autograd.grad((total * torch.arange(1.0, 4.0)).sum(), log_weight)))
    assert found[0][0].grad_fn is not None
    assert found[0][0].grad_fn.name() == "_LogSumExpBackward"
    torch.testing.assert_close(found[0], found[1])


def test_a_datum_without_weight_has_no_gradient_and_spoils_no_other() -> None:
    """Would give NaN by torch's own function."""
    log_weight = weights(2, 2).detach()
    log_weight[:, 0] = -math.inf
    log_weight.requires_grad_()
    total = log_sum_exp(log_weight)
    assert total[0].item() == -math.inf
    (slope,) = torch.autograd.grad(total.sum(), log_weight, create_graph=True)
    torch.testing.assert_close(slope[:, 0], torch.zeros(2).double())
    torch.testing.assert_close(slope[:, 1], log_weight.detach()[:, 1].softmax(0))


def test_one_weightless_particle_has_no_share() -> None:
    log_weight = torch.tensor([0.0, -math.inf, 1.0], requires_grad=True)
    (slope,) = torch.autograd.grad(log_sum_exp(log_weight), log_weight)
    torch.testing.assert_close(slope, torch.tensor([0.0, -math.inf, 1.0]).softmax(0))


def test_a_graph_may_be_walked_twice() -> None:
    log_weight = weights(4, 3)
    total = log_sum_exp(log_weight).sum()
    first = torch.autograd.grad(total, log_weight, retain_graph=True)
    torch.testing.assert_close(torch.autograd.grad(total, log_weight), first)


# Torch scripts its own rules of forward mode when they are first used, and warns that scripting is deprecated.
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")
def test_transforms_and_captures_take_the_plain_function(monkeypatch: pytest.MonkeyPatch) -> None:
    log_weight = weights(4, 3).detach()
    truth = log_weight.softmax(0)

    def refuse(*_: object) -> None:
        raise AssertionError("taken")

    monkeypatch.setattr(written_out._LogSumExp, "apply", refuse)

    def total(each: Tensor) -> Tensor:
        return log_sum_exp(each).sum()

    torch.testing.assert_close(torch.func.grad(total)(log_weight), truth)
    torch.testing.assert_close(torch.func.jvp(total, (log_weight,), (torch.ones_like(log_weight),))[1], truth.sum())
    torch.testing.assert_close(make_fx(torch.func.grad(total))(log_weight)(log_weight), truth)
    log_weight.requires_grad_()
    with forward_ad.dual_level():
        dual = total(forward_ad.make_dual(log_weight, torch.ones_like(log_weight)))
        torch.testing.assert_close(forward_ad.unpack_dual(dual).tangent, truth.sum())
    with torch.no_grad():
        total(log_weight)
    with pytest.raises(AssertionError, match="taken"):
        total(log_weight)


def test_order_zero_is_as_near_orders_are() -> None:
    log_weight = weights(4, 3)
    at_zero, near = bound(log_weight, 0.0), bound(log_weight, 1e-9)
    torch.testing.assert_close(at_zero, near)
    torch.testing.assert_close(
        torch.autograd.grad(at_zero.sum(), log_weight), torch.autograd.grad(near.sum(), log_weight)
    )
