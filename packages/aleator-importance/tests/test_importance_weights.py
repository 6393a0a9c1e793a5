import math

import pytest
import torch

from aleator_importance import (
    ImportanceWarning,
    effective_sample_size,
    log_normalizer,
    log_normalizer_standard_error,
    normalized_log_weights,
)

WEIGHTS = torch.tensor([0.1, 0.4, 0.5, 3.0])


def test_numbers_by_hand():
    """SEMANTICS 52: 4 ** 2 / (0.01 + 0.16 + 0.25 + 9) = 1.69851; the mean is 1, the sample variance 5.42 / 3."""
    log_weights = WEIGHTS.log()
    assert effective_sample_size(log_weights).item() == pytest.approx(16 / 9.42)
    assert log_normalizer(log_weights).item() == pytest.approx(0.0, abs=1e-6)
    error = log_normalizer_standard_error(log_weights).item()
    assert error == pytest.approx(math.sqrt(5.42 / 3 / 4))
    assert log_normalizer(log_weights, corrected=True).item() == pytest.approx(error**2 / 2)
    torch.testing.assert_close(normalized_log_weights(log_weights).exp(), WEIGHTS / 4)


@pytest.mark.parametrize("shift", [-3000.0, 3000.0])
def test_huge_and_tiny_evidence(shift):
    log_weights = WEIGHTS.log().double() + shift
    assert effective_sample_size(log_weights).item() == pytest.approx(16 / 9.42)
    assert log_normalizer(log_weights).item() == pytest.approx(shift)
    assert log_normalizer_standard_error(log_weights).item() == pytest.approx(math.sqrt(5.42 / 3 / 4))


def test_effective_sample_size_lies_between_one_and_the_number_of_draws():
    assert effective_sample_size(torch.full((1000,), 0.1)).item() == 1000.0
    assert effective_sample_size(torch.tensor([0.0, -200.0])).item() == 1.0


def test_one_draw_has_no_error_that_is_known():
    assert log_normalizer_standard_error(torch.zeros(1)).item() == math.inf


def test_no_draws_and_no_positive_weight_warn():
    """SEMANTICS 52."""
    for nothing, why in ((torch.zeros(0), "no draws"), (torch.full((3,), -torch.inf), "weight zero")):
        with pytest.warns(ImportanceWarning, match=why):
            assert effective_sample_size(nothing).item() == 0.0
    with pytest.warns(ImportanceWarning, match="no draws"):
        assert log_normalizer(torch.zeros(0)).item() == -math.inf
    assert log_normalizer(torch.full((3,), -torch.inf)).item() == -math.inf
    with pytest.raises(ValueError, match="weight zero"):
        normalized_log_weights(torch.full((3,), -torch.inf))
