"""Each semiring's operations: units, distributivity, and no NaN at its zero in value or in both derivatives."""

import itertools
import math

import pytest
import torch

from aleator_enum_discrete.engine.semirings import LINEAR, LOG, MAX_PLUS, SAMPLING

ALL = [LOG, LINEAR, MAX_PLUS, SAMPLING]
ZERO = {"log": -math.inf, "linear": 0.0, "max-plus": -math.inf, "sampling": -math.inf}


def numbers(semiring, *shape):
    generator = torch.Generator().manual_seed(sum(shape))
    values = torch.randn(shape, dtype=torch.float64, generator=generator)
    return values.exp() if semiring is LINEAR else values


@pytest.mark.parametrize("semiring", ALL, ids=lambda each: each.name)
def test_one_changes_no_product_and_zero_no_sum(semiring):
    x = numbers(semiring, 3, 4)
    torch.testing.assert_close(semiring.multiply(x, torch.full_like(x, semiring.one)), x, rtol=0, atol=0)
    wider = torch.cat([x, torch.full((3, 1), ZERO[semiring.name], dtype=x.dtype)], 1)
    torch.testing.assert_close(semiring.sum(wider, 1), semiring.sum(x, 1), rtol=1e-15, atol=0)


@pytest.mark.parametrize("semiring", ALL, ids=lambda each: each.name)
def test_products_distribute_over_sums(semiring):
    x, y = numbers(semiring, 3), numbers(semiring, 3, 4)
    together = semiring.sum(semiring.multiply(x.unsqueeze(1), y), 1)
    torch.testing.assert_close(together, semiring.multiply(x, semiring.sum(y, 1)), rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("semiring", ALL, ids=lambda each: each.name)
def test_matrices_are_the_sum_of_the_product(semiring):
    left, right = numbers(semiring, 2, 3, 4), numbers(semiring, 2, 4, 5)
    expected = semiring.sum(semiring.multiply(left.unsqueeze(2), right.transpose(1, 2).unsqueeze(1)), 1)
    torch.testing.assert_close(semiring.multiply_matrices(left, right), expected, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("semiring", ALL, ids=lambda each: each.name)
def test_a_product_over_dims_and_a_power(semiring):
    x = numbers(semiring, 2, 3, 2)
    expected = x[0, :, 0]
    for i, j in [(0, 1), (1, 0), (1, 1)]:
        expected = semiring.multiply(expected, x[i, :, j])
    torch.testing.assert_close(semiring.product(x, (0, 2), 1), expected, rtol=1e-14, atol=1e-14)
    twice = semiring.multiply(expected, expected)
    torch.testing.assert_close(semiring.product(x, (0, 2), 2), twice, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("semiring", ALL, ids=lambda each: each.name)
def test_zeros_have_no_nan_in_value_or_derivatives(semiring):
    zero = ZERO[semiring.name]
    for hidden in itertools.product([False, True], repeat=4):
        x = numbers(semiring, 2, 2).masked_fill(torch.tensor(hidden).reshape(2, 2), zero).requires_grad_()
        total = semiring.sum(semiring.multiply(semiring.product(x, (0,), 2), semiring.sum(x, 1)), 1)
        matrices = semiring.multiply_matrices(x.unsqueeze(0), x.unsqueeze(0))
        for value in (total, matrices[0, 0, 0]):
            assert not value.isnan()
            (first,) = torch.autograd.grad(value, x, create_graph=True)
            assert first.isfinite().all()
            (second,) = torch.autograd.grad((first * first).sum() + 0.0 * x.exp().sum(), x)
            assert second.isfinite().all()


@pytest.mark.parametrize("semiring", [MAX_PLUS, SAMPLING], ids=lambda each: each.name)
def test_choices_are_possible_and_in_range(semiring):
    scores = torch.tensor([[0.0, -math.inf, 1.0], [-math.inf, -math.inf, 2.0], [-math.inf] * 3])
    for _ in range(50):
        chosen = semiring.choose(scores)
        assert chosen[0].item() in (0, 2)
        assert chosen[1].item() == 2
        assert 0 <= chosen[2].item() < 3


def test_only_two_semirings_choose():
    assert [semiring.choose is None for semiring in ALL] == [True, True, False, False]
    assert [semiring.open_chain is None for semiring in ALL] == [True, True, False, False]
