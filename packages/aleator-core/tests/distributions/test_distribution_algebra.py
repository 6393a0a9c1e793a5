"""expand, to_event, mask, expand_by and draws, over every distribution."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import distributions as td

import aleator.distributions as dist
from aleator.errors import ParameterError
from aleator.randomness import rng


def draw(d, sample_shape=()):
    with rng(3):
        return d.sample(sample_shape)


def test_draws_come_from_the_source_alone(case):
    d = case.ours()
    process = torch.get_rng_state()
    first, second = draw(d, (2,)), draw(d, (2,))
    with rng(3):
        called = d((2,))
    assert torch.equal(first, second)
    assert torch.equal(called.detach(), first)
    assert torch.equal(torch.get_rng_state(), process)
    assert called.requires_grad is False


def test_expand(case):
    d = case.ours()
    target = (4, *d.batch_shape)
    wide, torchs = d.expand(target), case.theirs().expand(target)
    assert type(wide) is type(d)
    assert wide.batch_shape == torchs.batch_shape == target
    assert wide.event_shape == d.event_shape
    assert wide.origin is d
    assert d.batch_shape == target[1:]
    value = draw(wide)
    assert value.shape == (*target, *d.event_shape)
    torch.testing.assert_close(wide.log_prob(value), torchs.log_prob(value), rtol=2e-5, atol=2e-6, equal_nan=True)
    single = value[0]
    scored = wide.log_prob(single)
    assert scored.shape == target
    torch.testing.assert_close(scored, d.log_prob(single).expand(target))
    for name in ("mean", "variance", "mode"):
        try:
            expected = getattr(torchs, name)
        except NotImplementedError:
            continue
        torch.testing.assert_close(getattr(wide, name), expected, rtol=2e-5, atol=2e-6, equal_nan=True)
    if d.has_enumerate_support and str(case) != "Binomial-counts":
        assert torch.equal(wide.enumerate_support(), torchs.enumerate_support())
        assert torch.equal(wide.enumerate_support(False), torchs.enumerate_support(False))


def test_elements_of_an_expanded_batch_are_drawn_independently(case):
    if case.theirs().support.is_discrete:
        pytest.skip("equal draws of a discrete distribution mean nothing")
    value = draw(case.ours().expand_by((2,)))
    assert not torch.equal(value[0], value[1])


def test_arguments_of_an_expanded_batch(case):
    wide = case.ours().expand_by((3,))
    torchs = case.theirs().expand((3, *case.theirs().batch_shape))
    for name in torchs.arg_constraints:
        expected = getattr(torchs, name, None)
        if isinstance(expected, torch.Tensor):
            torch.testing.assert_close(getattr(wide, name), expected, rtol=2e-5, atol=2e-6)


def test_cached_quantities_do_not_survive_expansion():
    low_rank = dist.LowRankMultivariateNormal(torch.zeros(3), torch.ones(3, 1), torch.ones(3))
    assert low_rank.covariance_matrix.shape == (3, 3)
    assert low_rank.variance.shape == (3,)
    wide = low_rank.expand((2,))
    assert wide.covariance_matrix.shape == (2, 3, 3)
    assert wide.variance.shape == (2, 3)
    angle = dist.VonMises(torch.zeros(()), torch.ones(()))
    assert angle.variance.shape == ()
    assert angle.expand((4,)).concentration.shape == (4,)


def test_expand_that_cannot_be_names_both_shapes(first_case):
    d = first_case.ours().expand((2, 3) if len(first_case.ours().batch_shape) == 0 else first_case.ours().batch_shape)
    bad = (*d.batch_shape[:-1], d.batch_shape[-1] + 1)
    with pytest.raises(ParameterError) as caught:
        d.expand(bad)
    assert str(tuple(bad)) in str(caught.value)
    assert str(tuple(d.batch_shape)) in str(caught.value)


def test_to_event(case):
    d = case.ours().expand_by((2, 3))
    value = draw(d)
    everything = d.to_event()
    assert everything.batch_shape == ()
    assert everything.event_shape == d.batch_shape + d.event_shape
    torch.testing.assert_close(everything.log_prob(value), d.log_prob(value).sum(), equal_nan=True)
    one = d.to_event(1)
    torchs = td.Independent(d, 1)
    assert (one.batch_shape, one.event_shape) == (torchs.batch_shape, torchs.event_shape)
    torch.testing.assert_close(one.log_prob(value), torchs.log_prob(value), equal_nan=True)
    assert one.has_rsample == d.has_rsample
    assert one.support.event_dim == len(one.event_shape)
    assert torch.equal(draw(one), value)
    assert d.to_event(0) is d


def test_to_event_adds_up_and_undoes():
    d = dist.Normal(torch.zeros(2, 3, 4), 1.0)
    twice = d.to_event(1).to_event(1)
    assert isinstance(twice, dist.Independent)
    assert twice.reinterpreted_batch_ndims == 2
    assert twice.base_dist is d
    assert twice.to_event(-1).event_shape == (4,)
    assert twice.to_event(-2) is d
    assert twice.to_event().event_shape == (2, 3, 4)
    assert twice.expand((5, 2)).event_shape == (3, 4)
    assert twice.expand((5, 2)).batch_shape == (5, 2)
    torch.testing.assert_close(twice.entropy(), d.entropy().sum((1, 2)))
    assert twice.mean.shape == (2, 3, 4)
    with pytest.raises(ParameterError, match=r"4 dims .* \(2, 3, 4\)"):
        d.to_event(4)
    with pytest.raises(ParameterError):
        d.to_event(-1)


def test_mask(case):
    d = case.ours().expand_by((3,))
    value = draw(d)
    mask = torch.tensor([True, False, True]).reshape(3, *[1] * len(case.ours().batch_shape))
    masked = d.mask(mask)
    scored = d.log_prob(value)
    torch.testing.assert_close(masked.log_prob(value), torch.where(mask, scored, 0.0), equal_nan=True)
    assert masked.batch_shape == d.batch_shape
    assert masked.event_shape == d.event_shape
    assert masked.has_rsample == d.has_rsample
    assert masked.has_enumerate_support == d.has_enumerate_support
    assert torch.equal(draw(masked), value)
    off = d.mask(False).log_prob(value)
    assert off.shape == d.batch_shape
    assert not off.any()
    assert d.mask(True) is d


def test_masks_conjoin_and_broadcast():
    d = dist.Normal(torch.zeros(2), 1.0)
    left, right = torch.tensor([True, False]), torch.tensor([[True], [True], [False]])
    both = d.mask(left).mask(right)
    assert both.base_dist.origin is d
    assert both.batch_shape == (3, 2)
    expected = torch.where(left & right, d.log_prob(torch.zeros(2)), 0.0)
    assert torch.equal(both.log_prob(torch.zeros(2)), expected)
    assert not d.mask(left).mask(False).log_prob(torch.zeros(2)).any()
    wide = both.expand((4, 3, 2))
    assert torch.equal(wide.log_prob(torch.zeros(2)), expected.expand(4, 3, 2))
    torch.testing.assert_close(both.entropy(), torch.where(left & right, d.entropy(), 0.0))
    event = d.mask(left).to_event(1)
    assert torch.equal(event.log_prob(torch.zeros(2)), d.log_prob(torch.zeros(2))[0])
    torch.testing.assert_close(d.to_event(1).mask(torch.tensor(False)).log_prob(torch.zeros(2)), torch.tensor(0.0))


def test_a_mask_that_cannot_be_is_named():
    d = dist.Normal(torch.zeros(2), 1.0)
    with pytest.raises(ParameterError, match=r"\(3,\).*\(2,\) of Normal"):
        d.mask(torch.ones(3, dtype=torch.bool))
    with pytest.raises(ParameterError, match=r"must be boolean, but is torch\.float32"):
        d.mask(torch.ones(2))
    with pytest.raises(ParameterError, match="a bool or a tensor"):
        d.mask(1)


def test_masked_elements_have_no_gradient():
    loc = torch.zeros(3, requires_grad=True)
    mask = torch.tensor([True, False, True])
    dist.Normal(loc, 1.0).mask(mask).log_prob(torch.ones(3)).sum().backward()
    assert loc.grad.tolist() == [1.0, 0.0, 1.0]


def test_switching_one_instance():
    loc = torch.zeros(2, requires_grad=True)
    for make in (
        lambda: dist.Normal(loc, 1.0),
        lambda: dist.LogNormal(loc, 1.0),
        lambda: dist.Normal(loc, 1.0).to_event(1),
        lambda: dist.Normal(loc, 1.0).mask(torch.tensor([True, False])),
        lambda: dist.TransformedDistribution(dist.Normal(loc, 1.0), dist.ExpTransform()),
    ):
        d = make()
        assert d().requires_grad
        assert d.has_rsample_(False) is d
        assert not d.has_rsample
        assert not d().requires_grad
        assert not d.expand_by((3,)).has_rsample
        assert make().has_rsample, "another instance was switched too"
        assert d.has_rsample_(True)().requires_grad
    inner = dist.Normal(loc, 1.0).has_rsample_(False)
    assert not inner.to_event(1).has_rsample
    assert not inner.mask(torch.tensor([True, False])).has_rsample
    with pytest.raises(ValueError, match="Bernoulli has no reparameterized draw"):
        dist.Bernoulli(0.5).has_rsample_(True)


def test_values_of_other_shapes_are_named(first_case):
    d = first_case.ours().expand((5,) if not first_case.ours().batch_shape else first_case.ours().batch_shape)
    value = draw(d)
    event_dim = d.event_dim
    place = value.dim() - event_dim - 1
    bad = torch.cat([value, value, value], place)
    with pytest.raises(ValueError, match="does not fit batch shape") as caught:
        d.log_prob(bad)
    assert str(tuple(bad.shape)) in str(caught.value)
    with pytest.raises(ValueError, match="fit"):
        d.validate_sample(bad)
    if event_dim:
        with pytest.raises(ValueError, match="event shape"):
            d.log_prob(value[..., :1])


def test_scoring_reads_no_number_of_the_value():
    # A value outside the support is the caller's to find: here it gets its density, or minus infinity.
    assert dist.Normal(0.0, 1.0).log_prob(torch.tensor(torch.nan)).isnan()
    assert dist.HalfNormal(1.0).log_prob(torch.tensor(-1.0)) == -torch.inf
    assert dist.Uniform(0.0, 1.0).log_prob(torch.tensor(2.0)) == -torch.inf


def test_numbers_can_be_scored():
    assert dist.Normal(0.0, 1.0).log_prob(0.0) == dist.Normal(0.0, 1.0).log_prob(torch.tensor(0.0))
    assert dist.Poisson(3.0).log_prob(2) == dist.Poisson(3.0).log_prob(torch.tensor(2.0))


def test_integer_values_are_scored_as_numbers():
    for name, arguments in (("Normal", (0.0, 1.0)), ("Bernoulli", (0.3,)), ("Poisson", (2.0,)), ("Gamma", (2.0, 1.0))):
        d = getattr(dist, name)(*arguments)
        torch.testing.assert_close(d.log_prob(torch.tensor(1)), d.log_prob(torch.tensor(1.0)))
    logits = dist.Bernoulli(logits=torch.tensor(0.3))
    torch.testing.assert_close(logits.log_prob(torch.tensor(True)), logits.log_prob(torch.tensor(1.0)))


def test_copies(varied_case):
    d = varied_case.ours()
    value = draw(d)
    for twin in (copy.copy(d), copy.deepcopy(d), pickle.loads(pickle.dumps(d))):
        torch.testing.assert_close(twin.log_prob(value), d.log_prob(value), equal_nan=True)


def test_what_is_handed_out_may_be_written_to(varied_case):
    # Numbers are shared between operations as tensors; one that got out could be changed for everybody.
    names = [*varied_case.keywords(), "mean", "variance", "mode", "stddev", "probs", "logits"]

    def quantities():
        d = varied_case.ours()
        found = [getattr(d, name) for name in names if _readable(d, name)]
        found += [
            getattr(d.base_dist, name)
            for name in ("low", "high", "rate")
            if hasattr(d, "base_dist") and hasattr(d.base_dist, name)
        ]
        with rng(0):
            value = d.sample()
        return [x for x in [*found, value, d.log_prob(value)] if isinstance(x, torch.Tensor)]

    expected = [x.clone() for x in quantities()]
    for x in quantities():
        if all(stride != 0 or size == 1 for stride, size in zip(x.stride(), x.shape, strict=True)):
            x.zero_()
    for found, before in zip(quantities(), expected, strict=True):
        torch.testing.assert_close(found, before, equal_nan=True)


def _readable(d, name):
    try:
        return getattr(d, name, None) is not None
    except NotImplementedError:
        return False


def test_representation_names_the_arguments(case):
    text = repr(case.ours())
    assert text.startswith(case.name)
    if case.name != "LogisticNormal":
        assert any(name in text for name in case.keywords()), text


def test_abstract_classes_cannot_be_made():
    for abstract in (dist.Distribution, dist.ExponentialFamily):
        with pytest.raises(TypeError, match="is abstract"):
            abstract()


def test_a_users_distribution_checks_its_arguments_and_is_masked():
    class Triangular(dist.Distribution):
        arg_constraints = {"high": dist.constraints.positive}  # noqa: RUF012  # torch's protocol
        support = dist.constraints.positive

        def __init__(self, high, validate_args=None):
            self.high = high
            super().__init__(high.shape, validate_args=validate_args)

        def log_prob(self, value):
            return torch.log(2 * value / self.high**2)

    with pytest.raises(ParameterError, match="Triangular expects 'high'"):
        Triangular(torch.tensor([1.0, -1.0]))
    d = Triangular(torch.ones(2)).mask(torch.tensor([True, False]))
    torch.testing.assert_close(d.log_prob(torch.ones(2)), torch.tensor([2.0, 1.0]).log())
