"""The log-probability of one site."""

import pytest
import torch
from torch.distributions import constraints

import aleator
import aleator.distributions as dist
from aleator import handlers
from aleator.scoring import feasible_value, plate_scale, score_site
from aleator.sites import PlateFrame, Site


def site(fn, value, mask=None, observed=True):
    made = Site("sample", "x", fn, value=value, is_observed=observed)
    made.mask = mask
    return made


def test_unmasked_and_masked_over_the_batch_shape():
    unmasked, masked = score_site(site(dist.Normal(torch.zeros(2), 1.0), torch.zeros(2), torch.tensor([True, False])))
    expected = dist.Normal(0.0, 1.0).log_prob(torch.tensor(0.0))
    torch.testing.assert_close(unmasked, expected.expand(2))
    torch.testing.assert_close(masked, torch.stack([expected, torch.tensor(0.0)]))


def test_nothing_is_kept_in_the_site():
    made = site(dist.Normal(0.0, 1.0), torch.tensor(0.0))
    before = {field: made[field] for field in made if field != "stash"}
    score_site(made)
    assert {field: made[field] for field in made if field != "stash"} == before
    assert made._stash is None


def test_mask_false_scores_nothing():
    """SEMANTICS 72."""

    class Unscored(dist.Delta):
        def log_prob(self, value):
            raise AssertionError("scored")

    unmasked, masked = score_site(site(Unscored(torch.zeros(2)), torch.zeros(2), mask=False))
    assert unmasked.tolist() == masked.tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    "fn",
    [
        dist.Normal(torch.zeros(2), 1.0),
        dist.Gamma(torch.ones(2), 1.0),
        dist.Beta(torch.ones(2), 1.0),
        dist.Bernoulli(torch.full((2,), 0.5)),
        dist.Poisson(torch.ones(2)),
        dist.Categorical(torch.ones(2, 3)),
        dist.Dirichlet(torch.ones(2, 3)),
        dist.MultivariateNormal(torch.zeros(2, 2), torch.eye(2)),
        dist.Uniform(torch.zeros(2), 1.0),
        dist.LogNormal(torch.zeros(2), 1.0),
    ],
    ids=lambda fn: type(fn).__name__,
)
def test_masked_data_may_be_anything(fn):
    """A masked element contributes exactly zero and no gradient, whatever stands there."""
    value = fn.sample().float()
    value[1] = float("nan")
    offset = torch.zeros((), requires_grad=True)
    mask = torch.tensor([True, False])
    with aleator.validation_enabled(False):
        _, masked = score_site(site(fn, value + offset, mask))
    assert masked[1] == 0.0
    assert not masked.isnan().any()
    if masked.requires_grad:
        masked.sum().backward()
        assert not offset.grad.isnan()


def test_a_latent_value_is_scored_as_it_is():
    """Only data may be missing; a latent value under a mask keeps its gradient path elsewhere."""
    value = torch.tensor([1.0, 2.0], requires_grad=True)
    _, masked = score_site(site(dist.Normal(torch.zeros(2), 1.0), value, torch.tensor([True, False]), observed=False))
    masked.sum().backward()
    assert value.grad.tolist() == [-1.0, 0.0]


def test_a_value_that_lacks_a_plates_dim_counts_once_for_each_element():
    """A replayed global value inside a plate."""
    fn = dist.Normal(0.0, 1.0).expand([3])
    assert score_site(site(fn, torch.tensor(0.0)))[0].shape == (3,)


def test_what_cannot_be_scored_names_the_site_and_all_shapes():
    with pytest.raises(ValueError, match="site 'x'") as caught:
        score_site(site(dist.Normal(torch.zeros(3), 1.0), torch.zeros(2)))
    for part in ("Normal", "batch shape (3,)", "event shape ()", "value of shape (2,)"):
        assert part in str(caught.value)
    with pytest.raises(ValueError, match=r"site 'x': function has no log_prob.*aleator\.deterministic"):
        score_site(site(lambda: 0, 0))


def test_the_scale_of_plates():
    """SEMANTICS 73: factors multiply; an empty plate has none."""
    made = site(dist.Normal(0.0, 1.0), torch.tensor(0.0))
    assert plate_scale(made) == 1
    made.frames = (PlateFrame("a", -1, 2, 10), PlateFrame("b", None, 3, 6), PlateFrame("c", -2, 4, 4))
    assert plate_scale(made) == 10.0
    made.frames = (PlateFrame("empty", -1, 0, 5),)
    assert plate_scale(made) == 1


@pytest.mark.parametrize(
    "support",
    [
        constraints.real,
        constraints.positive,
        constraints.unit_interval,
        constraints.interval(2.0, 3.0),
        constraints.greater_than(5.0),
        constraints.boolean,
        constraints.nonnegative_integer,
        constraints.positive_integer,
        constraints.integer_interval(3, 6),
        constraints.simplex,
        constraints.real_vector,
        constraints.independent(constraints.positive, 1),
    ],
    ids=str,
)
def test_a_feasible_value(support):
    like = torch.full((3,), float("nan"))
    assert support.check(feasible_value(support, like).expand(3)).all()


def test_a_scored_site_in_a_run():
    with handlers.trace() as trace, aleator.plate("data", 4, subsample_size=2), handlers.scale(scale=3.0):
        aleator.sample("x", dist.Normal(0.0, 1.0), obs=torch.zeros(2))
    unmasked, masked = score_site(trace.nodes["x"])
    assert unmasked.shape == masked.shape == (2,)
    torch.testing.assert_close(unmasked, dist.Normal(0.0, 1.0).log_prob(torch.zeros(2)))  # neither scaled
