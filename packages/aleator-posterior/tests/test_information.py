import math
import warnings

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator import handlers
from aleator_posterior import Draws, TracePosterior, information_criterion


class Given(TracePosterior):
    def __init__(self, draws):
        super().__init__()
        self.given = draws

    def _traces(self):
        yield self.given


class Traced(TracePosterior):
    """Equally weighted runs of a program."""

    def __init__(self, program, count=4):
        super().__init__()
        self.program, self.count = program, count

    def _traces(self, *args, **kwargs):
        for _ in range(self.count):
            yield handlers.trace(self.program).get_trace(*args, **kwargs), 0.0


LIKELIHOOD = torch.tensor([[-1.0, -2.0], [-1.5, -2.5], [-0.5, -4.0]], dtype=torch.float64)
WEIGHTS = torch.tensor([0.05, 0.9, 0.05], dtype=torch.float64)


def by_hand(likelihood, weights):
    """SEMANTICS 56, in plain Python."""
    count, found = len(weights), []
    for column in likelihood.T.tolist():
        lpd = math.log(sum(w * math.exp(ll) for w, ll in zip(weights.tolist(), column, strict=True)))
        mean = sum(w * ll for w, ll in zip(weights.tolist(), column, strict=True))
        p = sum(w * (ll - mean) ** 2 for w, ll in zip(weights.tolist(), column, strict=True)) * count / (count - 1)
        found.append((-2 * (lpd - p), p))
    return found


def test_against_plain_python_with_weights():
    """SEMANTICS 56: the weights may have any scale."""
    draws = Draws({}, WEIGHTS.log() + 100.0, log_likelihoods={"x": LIKELIHOOD})
    expected = by_hand(LIKELIHOOD, WEIGHTS)
    total = Given(draws).run().information_criterion()
    assert list(total) == ["waic", "p_waic"]
    assert total["waic"].item() == pytest.approx(sum(waic for waic, _ in expected))
    assert total["p_waic"].item() == pytest.approx(sum(p for _, p in expected))
    unweighted = by_hand(LIKELIHOOD, torch.full((3,), 1 / 3, dtype=torch.float64))
    assert abs(sum(waic for waic, _ in unweighted) - total["waic"].item()) > 0.1


def test_pointwise_keeps_the_shape_of_the_site():
    """SEMANTICS 56."""
    wide = LIKELIHOOD.reshape(3, 1, 2)
    found = information_criterion(Draws({}, WEIGHTS.log(), log_likelihoods={"x": wide}), pointwise=True)
    assert found["waic"].shape == found["p_waic"].shape == (1, 2)
    assert found["waic"].flatten().tolist() == pytest.approx([waic for waic, _ in by_hand(LIKELIHOOD, WEIGHTS)])


def test_several_observed_sites_add_up():
    """SEMANTICS 56: not exactly one."""
    likelihoods = {"x": LIKELIHOOD[:, :1], "y": LIKELIHOOD[:, 1]}
    draws = Draws({}, WEIGHTS.log(), log_likelihoods=likelihoods)
    whole = information_criterion(Draws({}, WEIGHTS.log(), log_likelihoods={"xy": LIKELIHOOD}))
    for what, value in information_criterion(draws).items():
        assert value.item() == pytest.approx(whole[what].item())
    pointwise = information_criterion(draws, pointwise=True)
    assert {name: tuple(value.shape) for name, value in pointwise["waic"].items()} == {"x": (1,), "y": ()}


def weighted_model(scale=1.0, mask=True, extras=False):
    z = aleator.sample("z", dist.Normal(0.0, 1.0))
    if extras:
        aleator.factor("f", -z)
        aleator.deterministic("d", 2 * z)
    with aleator.plate("data", 3), handlers.scale(scale=scale), handlers.mask(mask=mask):
        aleator.sample("x", dist.Normal(z, 1.0), obs=torch.tensor([0.0, 1.0, 5.0]))


def waic_of(**options):
    with aleator.rng(4):
        return Traced(weighted_model).run(**options).information_criterion()


def test_deterministic_sites_and_factors_are_no_data():
    """SEMANTICS 56."""
    assert waic_of(extras=True) == waic_of()


def test_masks_are_honoured_and_scales_are_not():
    """SEMANTICS 56: a scale says how to extrapolate; what was seen stays what it was."""
    plain = waic_of()
    assert waic_of(scale=10.0) == plain
    masked = waic_of(mask=torch.tensor([True, True, False]))
    assert masked["waic"].item() < plain["waic"].item() - 1
    with aleator.rng(4):
        pointwise = Traced(weighted_model).run(mask=torch.tensor([True, True, False])).information_criterion(True)
    assert pointwise["waic"][2].item() == pointwise["p_waic"][2].item() == 0.0


def test_a_draw_of_weight_zero_takes_no_part_in_the_mean():
    likelihood = torch.cat([LIKELIHOOD, torch.full((1, 2), -torch.inf, dtype=torch.float64)])
    log_weights = torch.cat([WEIGHTS.log(), torch.tensor([-torch.inf], dtype=torch.float64)])
    found = information_criterion(Draws({}, log_weights, log_likelihoods={"x": likelihood}))
    expected = sum(p for _, p in by_hand(LIKELIHOOD, WEIGHTS)) * (4 / 3) / (3 / 2)
    assert found["p_waic"].item() == pytest.approx(expected)


def test_what_cannot_be_compared_is_refused():
    with pytest.raises(ValueError, match="no draw has an observed site"):
        information_criterion(Draws({"z": torch.zeros(3)}))
    with pytest.raises(ValueError, match="at least two draws"):
        information_criterion(Draws({}, torch.zeros(1), log_likelihoods={"x": torch.zeros(1, 2)}))

    def minibatched(indices=None):
        with aleator.plate("data", 10, subsample_size=3, subsample=indices) as batch:
            aleator.sample("x", dist.Normal(0.0, 1.0), obs=batch.float())

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        posterior = Traced(minibatched).run()
    with pytest.raises(ValueError, match="different minibatches of plate 'data' at site 'x'"):
        posterior.information_criterion()
    same = Traced(minibatched).run(torch.tensor([1, 2, 3])).information_criterion()
    assert same["p_waic"].item() == 0.0
