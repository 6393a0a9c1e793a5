"""`scale` and `mask`: how much a site counts."""

import pytest
import torch
from torch.distributions import Normal

import aleator
from aleator import handlers
from aleator.errors import ParameterError
from aleator.handlers.mask import join_masks

ZERO = Normal(0.0, 1.0).log_prob(torch.tensor(0.0))


def observe(language, *shape):
    return language.sample("x", Normal(torch.zeros(shape), 1.0), obs=torch.zeros(shape))


def weighed(language, *handlers_around, shape=()):
    def model():
        observe(language, *shape)

    for handler in handlers_around:
        model = handler(model)
    return language.handlers.trace(model).get_trace()


# ---- scale ----


def test_scales_multiply(language):
    """SEMANTICS 72."""
    trace = weighed(language, language.handlers.scale(scale=2.0), language.handlers.scale(scale=torch.tensor(1.5)))
    assert trace.nodes["x"].scale == 3.0
    torch.testing.assert_close(trace.log_prob_sum(), 3.0 * ZERO)


def test_a_scale_per_element(language):
    trace = weighed(language, language.handlers.scale(scale=torch.tensor([1.0, 3.0])), shape=(2,))
    torch.testing.assert_close(trace.log_prob_sum(), 4.0 * ZERO)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan")])
def test_a_scale_is_positive(language, scale):
    """SEMANTICS 72."""
    with pytest.raises(ValueError, match="positive"):
        language.handlers.scale(scale=scale)


def test_a_scale_does_not_touch_values(language):
    with language.handlers.scale(scale=100.0):
        assert abs(language.sample("x", Normal(0.0, 1.0))) < 10


def test_a_tensor_is_checked_at_the_end_of_the_run():
    """Core only: no host read where the handler is entered."""
    bad = handlers.scale(lambda: aleator.sample("x", Normal(0.0, 1.0)), scale=torch.tensor([1.0, 0.0]))
    with pytest.raises(ParameterError, match=r"ScaleMessenger expects 'scale' in .*but found \[0.0\]"):
        bad()
    with aleator.validation_enabled(False):
        bad()


@pytest.mark.parametrize("scale", [True, "2"])
def test_what_is_no_scale(scale):
    """Core only."""
    with pytest.raises(TypeError, match="scale expects a positive number or tensor"):
        handlers.scale(scale=scale)


def test_the_plates_scale_is_apart():
    """Core only (DESIGN 3): `Site.scale` is the handlers' only."""
    with handlers.trace() as trace, aleator.plate("data", 10, subsample_size=2), handlers.scale(scale=3.0):
        observe(aleator, 2)
    site = trace.nodes["x"]
    assert site.scale == 3.0
    assert site.frames[0].scale == 5.0
    torch.testing.assert_close(trace.log_prob_sum(), 2 * 15.0 * ZERO)


# ---- mask ----


def test_masked_elements_do_not_count(language):
    trace = weighed(language, language.handlers.mask(mask=torch.tensor([True, False, True])), shape=(3,))
    torch.testing.assert_close(trace.log_prob_sum(), 2.0 * ZERO)


def test_masks_are_joined_by_and(language):
    """SEMANTICS 72."""
    first, second = torch.tensor([True, True, False]), torch.tensor([False, True, True])
    for masks in ((first, second), (second, first)):
        trace = weighed(language, *(language.handlers.mask(mask=mask) for mask in masks), shape=(3,))
        assert trace.nodes["x"].mask.tolist() == [False, True, False]
        torch.testing.assert_close(trace.log_prob_sum(), ZERO)


@pytest.mark.parametrize("other", [True, False, torch.tensor([True, False])])
def test_false_wins_and_true_is_neutral(language, other):
    """SEMANTICS 72."""
    both = weighed(language, language.handlers.mask(mask=other), language.handlers.mask(mask=True), shape=(2,))
    alone = weighed(language, language.handlers.mask(mask=other), shape=(2,))
    torch.testing.assert_close(both.log_prob_sum(), alone.log_prob_sum())
    none = weighed(language, language.handlers.mask(mask=other), language.handlers.mask(mask=False), shape=(2,))
    assert none.nodes["x"].mask is False
    assert none.log_prob_sum() == 0.0


def test_false_skips_the_scoring(language):
    """SEMANTICS 72: `mask=False` never calls `log_prob`."""

    class Unscored(Normal):
        def log_prob(self, value):
            raise AssertionError("scored")

        def expand(self, batch_shape, _instance=None):
            return self

    with language.handlers.trace() as trace, language.handlers.mask(mask=False):
        language.sample("x", Unscored(0.0, 1.0), obs=torch.tensor(0.0))
    assert trace.log_prob_sum() == 0.0


@pytest.mark.parametrize("mask", [torch.tensor([1.0, 0.0]), torch.tensor([1, 0])])
def test_a_mask_is_boolean(language, mask):
    """SEMANTICS 72."""
    with pytest.raises(ValueError, match="mask"):
        language.handlers.mask(mask=mask)


def test_deterministic_records_and_counts_nothing(language):
    """SEMANTICS 72: observed, log-probability zero."""
    with language.handlers.trace() as trace:
        value = language.deterministic("d", torch.tensor([1.0, 2.0]))
    site = trace.nodes["d"]
    assert site.value is value
    assert site.is_observed
    assert trace.log_prob_sum() == 0.0


def test_missing_data_may_be_nan_under_a_mask():
    """Core only: the masked element contributes exactly zero, and no gradient."""
    loc = torch.zeros((), requires_grad=True)
    data = torch.tensor([1.0, float("nan")])
    with handlers.trace() as trace, handlers.mask(mask=~data.isnan()):
        aleator.sample("x", aleator.distributions.Normal(loc.expand(2), 1.0), obs=data)
    total = trace.log_prob_sum()
    total.backward()
    torch.testing.assert_close(total, Normal(0.0, 1.0).log_prob(torch.tensor(1.0)))
    assert loc.grad == 1.0


def test_joining_without_touching_a_tensor():
    """Core only: the neutral cases give back the very mask."""
    mask = torch.tensor([True])
    assert join_masks(None, mask) is mask
    assert join_masks(True, mask) is mask
    assert join_masks(mask, True) is mask
    assert join_masks(mask, False) is False
    assert join_masks(False, mask) is False


def test_a_mask_says_what_it_found():
    """Core only."""
    with pytest.raises(ValueError, match=r"but found a tensor of torch\.float32"):
        handlers.mask(mask=torch.ones(2))
    with pytest.raises(ValueError, match="but found str"):
        handlers.mask(mask="yes")
