import pytest
import torch

import aleator
from aleator_importance import multinomial, resample, residual, stratified, systematic
from aleator_posterior import Draws

SCHEMES = [multinomial, stratified, systematic, residual]
WEIGHTS = torch.tensor([0.05, 0.45, 0.0, 0.3, 0.2], dtype=torch.float64)


def copies(scheme, count, repetitions, weights=WEIGHTS):
    """How often each place was taken, one row per repetition."""
    with aleator.rng(11):
        places = torch.stack([scheme(weights.log(), count) for _ in range(repetitions)])
    return torch.nn.functional.one_hot(places, len(weights)).sum(1).double()


def disagreement(taken, count):
    """The largest deviation of the mean number of copies from ``count * weight``, in its standard errors."""
    bound = (count * WEIGHTS * (1 - WEIGHTS) / len(taken)).sqrt()
    return ((taken.mean(0) - count * WEIGHTS).abs() / bound.clamp(min=1e-3)).max().item()


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme_is_unbiased(scheme):
    """Mean copies are n w, within five multinomial standard errors; the others vary less."""
    taken = copies(scheme, 9, 2000)
    assert (taken.sum(1) == 9).all()
    assert taken[:, 2].sum().item() == 0
    assert disagreement(taken, 9) < 5


def test_a_scheme_with_one_fixed_offset_fails_the_same_test():
    """Systematic resampling whose offset is always one half keeps the same copies for ever: it is biased."""

    def fixed(log_weights, count):
        return torch.searchsorted(log_weights.exp().cumsum(0), (torch.arange(count) + 0.5) / count, right=True)

    assert disagreement(copies(fixed, 9, 2000), 9) > 5


def test_how_much_chance_each_scheme_adds():
    """Systematic takes floor or ceil of n w; residual at least the floor; independent draws vary the most."""
    expected = 9 * WEIGHTS
    taken = {scheme.__name__: copies(scheme, 9, 1000) for scheme in SCHEMES}
    assert ((taken["systematic"] >= expected.floor()) & (taken["systematic"] <= expected.ceil())).all()
    assert (taken["residual"] >= expected.floor()).all()
    spread = {name: each.var(0).sum().item() for name, each in taken.items()}
    assert spread["multinomial"] == pytest.approx((expected * (1 - WEIGHTS)).sum().item(), rel=0.1)
    assert max(spread["stratified"], spread["systematic"], spread["residual"]) < spread["multinomial"] / 2


@pytest.mark.parametrize("scheme", [stratified, systematic, residual])
def test_equal_weights_take_each_draw_once(scheme):
    assert scheme(torch.full((100,), -5.0)).tolist() == list(range(100))


@pytest.mark.parametrize("scheme", SCHEMES)
def test_edges(scheme):
    assert scheme(torch.tensor([-torch.inf, 0.0, -torch.inf]), 4).tolist() == [1, 1, 1, 1]
    assert scheme(torch.zeros(3), 0).tolist() == []
    with pytest.raises(ValueError, match="weight zero"):
        scheme(torch.full((3,), -torch.inf))
    with pytest.raises(ValueError, match="without NaN"):
        scheme(torch.tensor([0.0, torch.nan]))
    with pytest.raises(ValueError, match="no draws to pick"):
        scheme(torch.zeros(0), 3)
    with pytest.raises(ValueError, match="must not be negative"):
        scheme(torch.zeros(3), -1)


@pytest.mark.parametrize("scheme", SCHEMES)
def test_one_seed_gives_one_choice_and_the_process_stream_is_left_alone(scheme):
    state = torch.get_rng_state()
    with aleator.rng(3):
        first = scheme(WEIGHTS.log(), 20)
    with aleator.rng(3):
        assert torch.equal(scheme(WEIGHTS.log(), 20), first)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("scheme", ["multinomial", "stratified", "systematic", "residual"])
def test_resampled_draws_are_equally_weighted_copies(scheme):
    draws = Draws(
        {"z": torch.arange(5.0), "w": torch.arange(10.0).reshape(5, 2)},
        WEIGHTS.log(),
        log_likelihoods={"x": torch.arange(5.0).reshape(5, 1)},
    )
    chosen = resample(draws, 200, scheme)
    assert chosen.log_weights.tolist() == [0.0] * 200
    z = chosen.values["z"]
    assert torch.equal(chosen.values["w"][:, 0], 2 * z)
    assert torch.equal(chosen.log_likelihoods["x"][:, 0], z)
    assert z.mean().item() == pytest.approx((WEIGHTS * torch.arange(5.0)).sum().item(), abs=0.5)
    z.fill_(99.0)
    assert draws.values["z"].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_smoothed_weights_and_unknown_schemes():
    exponential = -torch.log1p(-(torch.arange(400.0) + 0.5) / 400)
    draws = Draws({"z": torch.arange(400.0)}, 1.3 * exponential)
    with aleator.rng(0):
        raw, smooth = (resample(draws, 4000, smooth=each).values["z"] for each in (False, True))
    largest = int((raw == 399).sum()), int((smooth == 399).sum())
    assert largest[1] != largest[0]
    with pytest.raises(ValueError, match="no scheme is called 'best'; there are multinomial, stratified"):
        resample(draws, 3, "best")
