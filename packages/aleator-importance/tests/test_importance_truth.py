"""Evidence and averages against what is known exactly."""

import itertools
import math

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator import handlers
from aleator_importance import Importance
from aleator_posterior import EmpiricalMarginal

DATA = torch.tensor([0.5, -1.0, 2.0])
# p(x) of three data with common mean z ~ N(0, 1), x ~ N(z, 1): covariance I + 1
EVIDENCE = torch.distributions.MultivariateNormal(torch.zeros(3), torch.eye(3) + 1.0).log_prob(DATA).item()
POSTERIOR_MEAN, POSTERIOR_SCALE = DATA.sum().item() / 4, 0.5


def conjugate():
    z = aleator.sample("z", dist.Normal(0.0, 1.0))
    with aleator.plate("data", 3):
        aleator.sample("x", dist.Normal(z, 1.0), obs=DATA)
    return z


def exact():
    aleator.sample("z", dist.Normal(POSTERIOR_MEAN, POSTERIOR_SCALE))


def wide():
    aleator.sample("z", dist.Normal(0.0, 1.5))


@pytest.mark.parametrize("vectorize", [True, False])
@pytest.mark.parametrize("guide", [None, wide])
def test_evidence_and_mean_of_a_conjugate_model(guide, vectorize):
    """SEMANTICS 50, 51, 52.

    Within four standard errors, which are below 0.1: a weight that lacks the prior, the guide or one datum is off by
    more.
    """
    count = 20000 if vectorize else 700
    posterior = Importance(conjugate, guide, count, vectorize=vectorize, rng=1, progress=False).run()
    error = posterior.get_log_normalizer_standard_error().item()
    assert 0.0 < error < 0.1
    assert posterior.get_log_normalizer().item() == pytest.approx(EVIDENCE, abs=4 * error)
    assert EmpiricalMarginal(posterior, "z").mean.item() == pytest.approx(POSTERIOR_MEAN, abs=5 * error)
    assert EmpiricalMarginal(posterior, "z").variance.sqrt().item() == pytest.approx(POSTERIOR_SCALE, abs=5 * error)


def test_the_twin_that_forgets_the_guide_fails_the_same_test():
    def forgetful():
        with handlers.mask(mask=False):
            wide()

    posterior = Importance(conjugate, forgetful, 20000, rng=1, progress=False).run()
    error = posterior.get_log_normalizer_standard_error().item()
    assert abs(posterior.get_log_normalizer().item() - EVIDENCE) > 10 * error


@pytest.mark.parametrize("vectorize", [True, False])
def test_the_exact_posterior_as_guide_has_equal_weights(vectorize):
    """SEMANTICS 52: ESS is N, every weight is the evidence, whatever is drawn."""
    posterior = Importance(conjugate, exact, 200, vectorize=vectorize, rng=2, progress=False).run()
    torch.testing.assert_close(posterior.log_weights, torch.full((200,), EVIDENCE), rtol=0, atol=2e-5)
    assert posterior.get_ESS().item() == pytest.approx(200.0, abs=1e-3)
    assert posterior.get_log_normalizer_standard_error().item() < 1e-6
    torch.testing.assert_close(posterior.get_normalized_weights(), torch.full((200,), 1 / 200), rtol=1e-4, atol=0)


def test_the_bias_of_the_log_evidence_and_its_correction():
    """The mean weight is unbiased for the evidence; its log lies low by half the squared standard error.

    The mean of the log weights, which is what an evidence lower bound estimates, lies low by the divergence of guide
    and posterior.

    6,000 repetitions of 20 draws. The relative variance of a weight v has a closed form: E[w^2] / Z^2 - 1.
    """
    repetitions, count = 6000, 20
    log_weights = Importance(conjugate, wide, repetitions * count, rng=3, progress=False).run().log_weights.double()
    groups = log_weights.reshape(repetitions, count) - EVIDENCE
    # E_q[(p/q)^2] with posterior N(m, 1/4) and guide N(0, 9/4), by quadrature
    grid = torch.linspace(-12, 12, 200001, dtype=torch.float64)
    p = torch.distributions.Normal(torch.tensor(POSTERIOR_MEAN, dtype=torch.float64), 0.5).log_prob(grid)
    q = torch.distributions.Normal(torch.tensor(0.0, dtype=torch.float64), 1.5).log_prob(grid)
    variance = torch.trapezoid((2 * p - q).exp(), grid).item() - 1.0
    divergence = torch.trapezoid(q.exp() * (q - p), grid).item()
    ratio = groups.exp().mean().item()
    spread = math.sqrt(variance / (repetitions * count))
    assert ratio == pytest.approx(1.0, abs=4 * spread)
    estimates = torch.stack([weights_estimate(group, False) for group in groups])
    corrected = torch.stack([weights_estimate(group, True) for group in groups])
    noise = estimates.std().item() / math.sqrt(repetitions)
    first_order = variance / (2 * count)
    assert -1.7 * first_order < estimates.mean().item() < -first_order / 2 < -4 * noise
    assert abs(corrected.mean().item()) < abs(estimates.mean().item()) / 2
    assert groups.mean().item() == pytest.approx(-divergence, abs=0.1)


def weights_estimate(log_weights, corrected):
    from aleator_importance import log_normalizer

    return log_normalizer(log_weights, corrected)


def test_factors_masks_scales_and_discrete_sites_against_enumeration():
    """SEMANTICS 50, 51: factors weigh, a masked datum does not, a scale is an exponent. By summing over states."""
    scores, seen = torch.tensor([1.0, -2.0, 0.3]), torch.tensor([True, False, True])

    def model():
        state = aleator.sample("state", dist.Bernoulli(0.3))
        aleator.factor("bonus", 0.7 * state)
        aleator.factor("constant", torch.tensor(0.25))
        aleator.deterministic("doubled", 2 * state)
        with aleator.plate("data", 3), handlers.mask(mask=seen):
            aleator.sample("x", dist.Normal(state, 1.0), obs=scores)
        with handlers.scale(scale=0.5):
            aleator.sample("y", dist.Normal(state, 2.0), obs=torch.tensor(1.5))

    def log_joint(state):
        terms = dist.Normal(state, 1.0).log_prob(scores)[seen].sum()
        return 0.7 * state + 0.25 + terms + 0.5 * dist.Normal(state, 2.0).log_prob(torch.tensor(1.5))

    prior = torch.tensor([0.7, 0.3]).log()
    expected = torch.logsumexp(prior + torch.stack([log_joint(torch.tensor(s)) for s in (0.0, 1.0)]), 0)
    for vectorize, count in ((True, 40000), (False, 500)):
        posterior = Importance(model, None, count, vectorize=vectorize, rng=4, progress=False).run()
        error = posterior.get_log_normalizer_standard_error().item()
        assert posterior.get_log_normalizer().item() == pytest.approx(expected.item(), abs=4 * error)
        states = posterior.draws.values["state"]
        expected_weights = torch.stack([log_joint(torch.tensor(s)) for s in (0.0, 1.0)])[states.long()]
        torch.testing.assert_close(posterior.log_weights, expected_weights, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(posterior.draws.values["doubled"], 2 * states)
        assert posterior.draws.log_likelihoods["x"][:, 1].abs().max().item() == 0.0


# European dippers, 1981 to 1987: of those released in a year, how many were next caught in each later year, and how
# many never (the birds of Lebreton et al. 1992).
NEXT_CAUGHT = ((11, 2, 0, 0, 0, 0), (24, 1, 0, 0, 0), (34, 2, 0, 0), (45, 1, 2), (51, 0), (52,))
NEVER = (9, 35, 42, 32, 37, 46)


def histories():
    """Distinct (release, next capture or None) pairs with their counts; years count from 0 to 6."""
    for release, (row, never) in enumerate(zip(NEXT_CAUGHT, NEVER, strict=True)):
        for step, count in enumerate(row):
            yield release, release + 1 + step, count
        yield release, None, never


def forward_log_prob(survival, capture, release, caught):
    """Log-probability of a bird's fate after a release, by forward sums over the hidden states alive and dead."""
    alive, dead = torch.ones_like(survival), torch.zeros_like(survival)
    last = 6 if caught is None else caught
    for year in range(release + 1, last + 1):
        alive, dead = alive * survival, dead + alive * (1 - survival)
        if year == caught:
            alive, dead = alive * capture, torch.zeros_like(dead)
        else:
            alive = alive * (1 - capture)
    return (alive + dead).log()


def dipper_log_likelihood(survival, capture):
    return sum(count * forward_log_prob(survival, capture, *fate) for *fate, count in histories() if count)


def test_forward_sums_give_the_published_deviance_of_the_dippers():
    """Constant survival 0.560 and recapture 0.903 are the maximum, with -2 log L = 666.84 (program MARK, phi. p.)."""
    values = torch.linspace(0.5, 0.95, 451, dtype=torch.float64)
    survival, capture = torch.meshgrid(values, values, indexing="ij")
    likelihood = dipper_log_likelihood(survival, capture)
    best = int(likelihood.argmax())
    assert survival.flatten()[best].item() == pytest.approx(0.560, abs=0.001)
    assert capture.flatten()[best].item() == pytest.approx(0.903, abs=0.0015)
    assert -2 * likelihood.max().item() == pytest.approx(666.84, abs=0.01)


def test_log_evidence_of_the_dippers():
    """Uniform priors; the truth is a quadrature of the likelihood by forward sums."""
    middles = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    survival, capture = torch.meshgrid(middles, middles, indexing="ij")
    truth = torch.logsumexp(dipper_log_likelihood(survival, capture).flatten(), 0).item() - math.log(10**6)

    def model():
        survival = aleator.sample("survival", dist.Uniform(0.0, 1.0))
        capture = aleator.sample("capture", dist.Uniform(0.0, 1.0))
        aleator.factor("dippers", dipper_log_likelihood(survival, capture))

    def guide():
        aleator.sample("survival", dist.Beta(200.0, 160.0))
        aleator.sample("capture", dist.Beta(65.0, 8.0))

    posterior = Importance(model, guide, 20000, rng=5, progress=False).run()
    assert posterior.execution.startswith("vectorized")
    error = posterior.get_log_normalizer_standard_error().item()
    assert error < 0.01
    assert posterior.get_log_normalizer().item() == pytest.approx(truth, abs=4 * error)
    assert EmpiricalMarginal(posterior, "survival").mean.item() == pytest.approx(0.560, abs=0.003)


def test_capture_recapture_with_its_hidden_states_drawn():
    """Three birds over three years whose states are sites: the evidence is the sum over all states, by brute force."""
    caught = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 1.0]])
    survival, capture = 0.56, 0.9

    def model():
        with aleator.plate("birds", 3):
            alive = torch.ones(3)
            for year in range(2):
                alive = aleator.sample(f"alive_{year}", dist.Bernoulli(survival * alive))
                aleator.sample(f"caught_{year}", dist.Bernoulli(capture * alive), obs=caught[:, year])

    def fate(bird):
        total = 0.0
        for states in itertools.product((0, 1), repeat=2):
            before, weight = 1, 1.0
            for year, state in enumerate(states):
                lives = survival * before
                weight *= lives if state else 1 - lives
                seen = capture * state
                weight *= seen if caught[bird, year].item() else 1 - seen
                before = state
            total += weight
        return total

    truth = sum(math.log(fate(bird)) for bird in range(3))
    posterior = Importance(model, None, 40000, rng=6, progress=False).run()
    assert posterior.execution.startswith("vectorized")
    error = posterior.get_log_normalizer_standard_error().item()
    assert posterior.get_log_normalizer().item() == pytest.approx(truth, abs=4 * error)
    assert error < 0.03
