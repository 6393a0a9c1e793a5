"""The log-sum-exp: torch's values everywhere, and a gradient where torch has none."""

import math

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from aleator.ops import logsumexp

INF = math.inf


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("dim", [0, -1, (0, 2), (0, 1, 2)])
@pytest.mark.parametrize("keepdim", [False, True])
def test_value_and_derivatives_are_torchs(dtype, dim, keepdim):
    torch.manual_seed(0)
    x = (3 * torch.randn(4, 3, 2, dtype=dtype)).requires_grad_()
    ours, theirs = logsumexp(x, dim, keepdim), torch.logsumexp(x, dim, keepdim)
    torch.testing.assert_close(ours, theirs)
    weights = torch.randn_like(theirs)
    first = [torch.autograd.grad((y * weights).sum(), x, create_graph=True)[0] for y in (ours, theirs)]
    torch.testing.assert_close(*first)
    second = [torch.autograd.grad((g**2).sum(), x)[0] for g in first]
    torch.testing.assert_close(*second)


def test_rows_without_weight_have_a_value_and_a_zero_gradient():
    x = torch.tensor([[-INF, -INF], [-INF, 1.0], [0.0, 1.0]], requires_grad=True)
    y = logsumexp(x, -1)
    assert y.tolist() == [-INF, 1.0, pytest.approx(math.log(1 + math.e))]
    (gradient,) = torch.autograd.grad(y.exp().sum(), x)
    torch.testing.assert_close(gradient, x.detach().exp())
    # What torch's own gradient is there: the reason for this function.
    assert torch.autograd.grad(torch.logsumexp(x, -1).sum(), x)[0].isnan().any()


def test_extremes():
    x = torch.tensor([[INF, 0.0], [1e38, 1e38], [-1e38, -INF], [math.nan, 0.0]], requires_grad=True)
    torch.testing.assert_close(logsumexp(x, 1), torch.logsumexp(x, 1), equal_nan=True)


def test_degenerate_shapes_and_dtypes():
    empty = torch.zeros(2, 0, requires_grad=True)
    assert logsumexp(empty, 1).tolist() == [-INF, -INF]
    assert logsumexp(torch.tensor(2.0, requires_grad=True), 0).item() == 2.0
    torch.testing.assert_close(logsumexp(torch.arange(3), 0), torch.arange(3.0).logsumexp(0))


def test_out_is_written():
    out = torch.empty(3)
    x = torch.randn(3, 4)
    assert logsumexp(x, 1, out=out) is out
    assert torch.equal(out, torch.logsumexp(x, 1))


def test_under_transforms():
    x = torch.tensor([[-INF, -INF], [0.5, 1.0]])
    gradient = torch.func.grad(lambda v: logsumexp(v, 1).exp().sum())(x)
    torch.testing.assert_close(gradient, x.exp())
    per_row = torch.func.vmap(torch.func.grad(lambda v: logsumexp(v, 0)))(x)
    torch.testing.assert_close(per_row, torch.stack([torch.zeros(2), x[1].softmax(0)]))
    graph = make_fx(lambda v: logsumexp(v, 1))(torch.randn(2, 2))
    torch.testing.assert_close(graph(x), torch.logsumexp(x, 1))
