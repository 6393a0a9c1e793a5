import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator_posterior import Draws, EmpiricalMarginal, TracePosterior

WEIGHTS = torch.tensor([0.1, 0.2, 0.3, 0.4])


class Given(TracePosterior):
    def __init__(self, draws, num_chains=1):
        super().__init__(num_chains)
        self.given = draws

    def _traces(self):
        yield self.given


def draws_of(**values):
    columns = {name: torch.as_tensor(column) for name, column in values.items()}
    return Draws(columns, WEIGHTS.log() + 5.0)


def test_one_site_against_numbers_by_hand():
    marginal = EmpiricalMarginal(Given(draws_of(z=[1.0, 2.0, 4.0, 1.0])).run(), "z")
    assert isinstance(marginal, dist.Empirical)
    assert (marginal.batch_shape, marginal.event_shape) == ((), ())
    # 0.1 * 1 + 0.2 * 2 + 0.3 * 4 + 0.4 * 1 = 2.1; squares: 0.1 + 0.8 + 4.8 + 0.4 = 6.1; 6.1 - 2.1 ** 2 = 1.69
    assert marginal.mean.item() == pytest.approx(2.1)
    assert marginal.variance.item() == pytest.approx(1.69)
    assert marginal.log_prob(torch.tensor(1.0)).exp().item() == pytest.approx(0.5)
    assert marginal.log_prob(torch.tensor(3.0)).item() == -float("inf")


def test_without_sites_it_is_the_result():
    posterior = Given(draws_of(z=[0.0] * 4, _RETURN=[0.0, 0.0, 0.0, 10.0])).run()
    assert EmpiricalMarginal(posterior).mean.item() == pytest.approx(4.0)
    with pytest.raises(ValueError, match=r"no result is kept.*name a site \(z\)"):
        EmpiricalMarginal(draws_of(z=[0.0] * 4))


def test_a_list_of_sites_is_stacked_in_a_new_leading_event_dim():
    """SEMANTICS 53."""
    a, b = torch.arange(8.0).reshape(4, 2), -torch.arange(8.0).reshape(4, 2)
    marginal = EmpiricalMarginal(draws_of(a=a, b=b), ["b", "a"])
    assert (marginal.batch_shape, marginal.event_shape) == ((), (2, 2))
    # the mean of rows 0, 2, 4, 6 is 0.2 * 2 + 0.3 * 4 + 0.4 * 6 = 4, the other column is one more
    torch.testing.assert_close(marginal.mean, torch.tensor([[-4.0, -5.0], [4.0, 5.0]]))
    assert EmpiricalMarginal(draws_of(a=a), ["a"]).event_shape == (1, 2)
    # joint: a value has weight where both sites have it in one draw
    assert marginal.log_prob(torch.stack([b[3], a[3]])).exp().item() == pytest.approx(0.4)
    assert marginal.log_prob(torch.stack([b[2], a[3]])).exp().item() == 0.0


def test_chains_are_the_batch_and_keep_their_own_weights():
    """SEMANTICS 53."""
    draws = Draws(
        {"z": torch.tensor([1.0, 10.0, 2.0, 20.0, 3.0, 30.0]), "_RETURN": torch.zeros(6, 2)},
        torch.tensor([1.0, 1.0, 1.0, 1.0, 2.0, 6.0]).log(),
        chain_ids=torch.tensor([0, 1, 0, 1, 0, 1]),
    )
    marginal = EmpiricalMarginal(draws, "z")
    assert (marginal.batch_shape, marginal.event_shape) == ((2,), ())
    assert marginal.samples.tolist() == [[1.0, 2.0, 3.0], [10.0, 20.0, 30.0]]
    # (1 + 2 + 2 * 3) / 4 and (10 + 20 + 6 * 30) / 8
    torch.testing.assert_close(marginal.mean, torch.tensor([2.25, 26.25]))
    both = EmpiricalMarginal(draws, ["z", "z"])
    assert (both.batch_shape, both.event_shape) == ((2,), (2,))
    assert EmpiricalMarginal(draws).mean.shape == (2, 2)
    assert EmpiricalMarginal(draws.in_chain(0), "z").batch_shape == ()


def test_posteriors_with_several_chains():
    posterior = Given(draws_of(z=[1.0, 2.0, 4.0, 1.0]), num_chains=3).run()
    marginal = EmpiricalMarginal(posterior, "z")
    assert marginal.batch_shape == (3,)
    torch.testing.assert_close(marginal.mean, torch.full((3,), 2.1))
    assert marginal.sample((7,)).shape == (7, 3)


def test_integer_samples_have_no_mean():
    marginal = EmpiricalMarginal(draws_of(k=[0, 1, 1, 2]), "k")
    assert marginal.log_prob(torch.tensor(1)).exp().item() == pytest.approx(0.5)
    with pytest.raises(ValueError, match=r"mean of an Empirical over torch\.int64 values is not defined"):
        _ = marginal.mean


# The 0.999 quantile of chi-square with 3 degrees of freedom (Abramowitz and Stegun, table 26.8).
CHI_SQUARE_3 = 16.266


def chi_square(counts, probs):
    expected = probs * counts.sum()
    return float(((counts - expected) ** 2 / expected).sum())


def test_draws_come_by_weight():
    """A twin that ignores the weights is beyond every doubt."""
    draws = draws_of(k=[0, 1, 2, 3])
    with aleator.rng(7):
        right = torch.bincount(EmpiricalMarginal(draws, "k").sample((4000,)), minlength=4)
        unweighted = Draws({"k": draws.values["k"]})
        wrong = torch.bincount(EmpiricalMarginal(unweighted, "k").sample((4000,)), minlength=4)
    assert chi_square(right, WEIGHTS) < CHI_SQUARE_3
    assert chi_square(wrong, WEIGHTS) > 10 * CHI_SQUARE_3


def test_what_cannot_be_is_refused_by_name():
    draws = draws_of(a=torch.zeros(4, 2), b=torch.zeros(4))
    with pytest.raises(KeyError, match="no draw has a site 'c'"):
        EmpiricalMarginal(draws, "c")
    with pytest.raises(ValueError, match=r"must share a shape, but have \{'a': \(2,\), 'b': \(\)\}"):
        EmpiricalMarginal(draws, ["a", "b"])
    with pytest.raises(ValueError, match="the list of sites is empty"):
        EmpiricalMarginal(draws, [])
    with pytest.raises(ValueError, match="there are no draws"):
        EmpiricalMarginal(Draws({}), "a")
    with pytest.raises(TypeError, match="expects a TracePosterior or Draws, but found function"):
        EmpiricalMarginal(draws_of, "a")
    with pytest.raises(RuntimeError, match="Given has no draws yet"):
        EmpiricalMarginal(Given(draws), "a")
    uneven = Draws({"z": torch.zeros(3)}, chain_ids=torch.tensor([0, 0, 4]))
    with pytest.raises(ValueError, match="2 in chain 0, 1 in chain 4"):
        EmpiricalMarginal(uneven, "z")
    ragged = Draws.concatenate([draws, Draws({"a": torch.zeros(1, 3)})])
    with pytest.raises(ValueError, match="site 'a' changes its shape between draws"):
        EmpiricalMarginal(ragged, "a")


def test_making_one_leaves_the_draws_alone():
    draws = draws_of(a=torch.arange(4.0), b=torch.arange(4.0))
    before = draws.values["a"].clone(), draws.log_weights.clone()
    EmpiricalMarginal(draws, ["a", "b"]).mean.add_(1.0)
    assert torch.equal(draws.values["a"], before[0])
    assert torch.equal(draws.log_weights, before[1])
