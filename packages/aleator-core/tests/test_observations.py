"""Data at a site."""

import pytest
import torch
from torch.distributions import constraints

import aleator
import aleator.distributions as dist
from aleator.errors import SupportError
from aleator.observations import as_observation, check_observed
from aleator.sites import Site


def test_numbers_become_tensors_and_the_rest_stays():
    assert as_observation(2.0).dtype == torch.get_default_dtype()
    assert as_observation(2).dtype == torch.get_default_dtype()
    assert as_observation(2, dist.Poisson(1.0)).dtype == torch.int64
    assert as_observation(True, dist.Bernoulli(0.5)).dtype == torch.bool
    tensor = torch.tensor(1.0)
    assert as_observation(tensor) is tensor
    assert as_observation(None) is None
    assert as_observation("text") == "text"


def observed(fn, value, mask=None):
    site = Site("sample", "x", fn, value=value, is_observed=True)
    site.mask = mask
    return site


def test_a_value_outside_the_support():
    """Issue 3: an observed value outside the support."""
    with pytest.raises(SupportError) as caught:
        check_observed(observed(dist.Beta(torch.ones(3), 1.0), torch.tensor([0.5, 1.5, -2.0])))
    text = str(caught.value)
    for part in (
        "site 'x'",
        "Interval(lower_bound=0.0, upper_bound=1.0)",
        "[1.5, -2.0]",
        "shape (3,)",
        "check the data",
    ):
        assert part in text


def test_masked_elements_are_not_checked():
    fn, value = dist.Gamma(torch.ones(2), 1.0), torch.tensor([1.0, -1.0])
    check_observed(observed(fn, value, torch.tensor([True, False])))
    check_observed(observed(fn, value, False))
    check_observed(observed(fn.mask(torch.tensor([True, False])), value))
    check_observed(observed(fn.mask(False), value))
    check_observed(observed(fn.mask(torch.tensor([True, True])), value, torch.tensor([True, False])))
    for wrong in (torch.tensor([False, True]), True, None):
        with pytest.raises(SupportError):
            check_observed(observed(fn, value, wrong))


def test_what_has_no_support_is_not_checked():
    check_observed(observed(lambda: 0, torch.tensor(1.0)))
    check_observed(observed(dist.Delta(torch.tensor(1.0)), torch.tensor(2.0)))
    check_observed(observed(dist.Normal(0.0, 1.0), "text"))


def test_nan_is_outside_every_support():
    with pytest.raises(SupportError, match=r"Real\(\).*nan"):
        check_observed(observed(dist.Normal(0.0, 1.0), torch.tensor(float("nan"))))
    assert constraints.real.check(torch.tensor(float("inf")))


def test_not_under_switched_off_validation():
    with aleator.validation_enabled(False):
        aleator.sample("x", dist.Gamma(1.0, 1.0), obs=torch.tensor(-1.0))
    with pytest.raises(SupportError):
        aleator.sample("x", dist.Gamma(1.0, 1.0), obs=torch.tensor(-1.0))
