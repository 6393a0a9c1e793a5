import math
import warnings

import pytest
import torch

from aleator_importance import ImportanceWarning, pareto_threshold, smooth_log_weights
from aleator_importance.judgement import warn_of_bad_weights
from aleator_importance.pareto_smoothing import pareto_shape, tail_length


def pareto_log_weights(shape, count):
    """Quantiles of a Pareto distribution of that shape, in logs."""
    ranks = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    return -shape * torch.log1p(-ranks)


@pytest.mark.parametrize(
    ("shape", "k_hat", "smoothed"),
    [
        (0.3, 0.3490369714739885, (-5.652888809, -5.234736339, -5.083052169, -4.731950019, -3.856200384)),
        (0.9, 0.787696363307366, (-6.83952544, -5.58506803, -5.123367242, -4.146466356, -1.777770386)),
    ],
)
def test_against_numbers_of_arviz(shape, k_hat, smoothed):
    """ArviZ 0.23.4: ``psislw`` of the same 200 log weights, at five places."""
    found = smooth_log_weights(pareto_log_weights(shape, 200))
    assert found.pareto_k.item() == pytest.approx(k_hat, abs=1e-6)
    chosen = found.log_weights[[0, 150, 170, 190, 199]]
    torch.testing.assert_close(chosen, torch.tensor(smoothed, dtype=torch.float64), rtol=0, atol=1e-6)


def test_the_order_of_draws_does_not_matter_and_what_is_smoothed_sums_to_one():
    weights = pareto_log_weights(0.8, 500)
    order = torch.randperm(500, generator=torch.Generator().manual_seed(0))
    straight, mixed = smooth_log_weights(weights), smooth_log_weights(weights[order] + 1000.0)
    torch.testing.assert_close(straight.log_weights[order], mixed.log_weights)
    torch.testing.assert_close(straight.pareto_k, mixed.pareto_k)
    assert straight.log_weights.exp().sum().item() == pytest.approx(1.0)
    assert pareto_shape(weights).item() == pytest.approx(straight.pareto_k.item(), abs=1e-12)


@pytest.mark.parametrize("shape", [0.2, 0.5, 1.0])
def test_k_hat_finds_the_shape_of_a_tail(shape):
    """Ten thousand draws; a fit to the body in place of the tail, or of the logs, is off by more than 0.1."""
    source = torch.Generator().manual_seed(1)
    log_weights = -shape * torch.log1p(-torch.rand(10000, generator=source, dtype=torch.float64))
    assert smooth_log_weights(log_weights).pareto_k.item() == pytest.approx(shape, abs=0.1)


def test_tail_length():
    """SEMANTICS 57."""
    assert [tail_length(count) for count in (10, 49, 100, 225, 226, 10000)] == [2, 10, 20, 45, 46, 300]


def test_a_short_tail_is_left_alone_with_a_warning():
    """SEMANTICS 57: fewer than ten draws in the tail."""
    weights = pareto_log_weights(0.5, 40)
    with pytest.warns(ImportanceWarning, match="the tail of 40 weights has 8 draws, too few"):
        found = smooth_log_weights(weights)
    assert found.pareto_k.item() == math.inf
    torch.testing.assert_close(found.log_weights, weights - torch.logsumexp(weights, 0))
    assert pareto_shape(weights) is None


def test_equal_weights_have_no_tail():
    found = smooth_log_weights(torch.full((100,), -3.0))
    assert found.pareto_k.item() == -math.inf
    torch.testing.assert_close(found.log_weights.exp(), torch.full((100,), 0.01))
    assert pareto_shape(torch.full((100,), -3.0)).item() == -math.inf


def test_weights_that_vanish_beside_one_are_the_heaviest_tail():
    weights = torch.full((1000,), -2000.0)
    weights[17] = 0.0
    weights[:17] = torch.arange(17.0) - 3000.0
    assert pareto_shape(weights).item() == math.inf
    with pytest.warns(ImportanceWarning, match=r"k-hat is inf, above 0\.67, which 1,000 draws allow.*better guide"):
        warn_of_bad_weights(weights)


def test_zero_weights_take_part():
    weights = torch.cat([pareto_log_weights(0.3, 300), torch.full((100,), -torch.inf)])
    found = smooth_log_weights(weights)
    assert torch.isneginf(found.log_weights[300:]).all()
    assert math.isfinite(found.pareto_k.item())


def test_what_is_no_set_of_weights_is_refused():
    for wrong in (torch.zeros(2, 2), torch.zeros(0)):
        with pytest.raises(ValueError, match="a vector of at least one"):
            smooth_log_weights(wrong)
    for wrong in (torch.full((20,), -torch.inf), torch.tensor([0.0, torch.inf]), torch.tensor([0.0, torch.nan])):
        with pytest.raises(ValueError, match="must be finite"):
            smooth_log_weights(wrong)


def test_the_threshold_depends_on_the_number_of_draws():
    assert pareto_threshold(100) == pytest.approx(0.5)
    assert pareto_threshold(10**6) == 0.7
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warn_of_bad_weights(pareto_log_weights(0.55, 10000))
    with pytest.warns(ImportanceWarning, match=r"above 0\.50, which 100 draws allow.*draws would do"):
        warn_of_bad_weights(pareto_log_weights(0.62, 100))
