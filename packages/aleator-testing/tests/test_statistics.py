"""The z-tests: their stated rates, and what they say when they fail."""

from __future__ import annotations

import pytest
import torch

from aleator_testing.check import CheckFailure
from aleator_testing.statistics import (
    DETECTABLE,
    FALSE_FAIL,
    FALSE_PASS,
    THRESHOLD,
    compare,
    require_close,
    require_mean,
)


def test_the_stated_rates_are_those_of_the_normal_law():
    normal = torch.distributions.Normal(torch.zeros((), dtype=torch.float64), 1.0)
    assert pytest.approx(2.0 * normal.cdf(torch.tensor(-THRESHOLD, dtype=torch.float64)).item()) == FALSE_FAIL
    missed = normal.cdf(torch.tensor(THRESHOLD - DETECTABLE, dtype=torch.float64)).item()
    assert pytest.approx(missed) == FALSE_PASS
    assert FALSE_FAIL < 1e-5
    assert FALSE_PASS < 1e-3


def test_a_right_mean_passes_and_a_detectable_bias_fails():
    sample = torch.randn(400, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    require_mean(sample, torch.zeros(3, dtype=torch.float64), "noise")
    error = compare(sample, 0.0).standard_error
    with pytest.raises(CheckFailure, match=r"noise: estimate .* truth .* standard error .* z "):
        require_mean(sample + DETECTABLE * error, torch.zeros(3, dtype=torch.float64), "noise")


def test_a_sample_without_noise_must_equal_the_truth():
    require_mean(torch.full((5,), 2.0), 2.0, "constant")
    with pytest.raises(CheckFailure):
        require_mean(torch.full((5,), 2.001), 2.0, "constant")


def test_not_a_number_fails():
    with pytest.raises(CheckFailure):
        require_mean(torch.tensor([0.0, torch.nan]), 0.0, "broken")
    with pytest.raises(CheckFailure):
        require_close(torch.nan, 0.0, "broken")


def test_shapes_must_agree():
    with pytest.raises(CheckFailure, match="shape"):
        require_close(torch.zeros(2), torch.zeros(3), "vectors")
