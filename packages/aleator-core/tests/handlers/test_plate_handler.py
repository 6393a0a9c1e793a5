"""`plate`: what the core and the specification share. The rest is in tests/test_plates.py."""

from itertools import combinations

import pytest
import torch
from torch.distributions import Normal

DATA = torch.tensor([0.3, -1.2, 0.8, 2.0, -0.4])


def total(language, model):
    return language.handlers.trace(model).get_trace().log_prob_sum()


def test_a_block_is_a_tensor_dim_and_a_loop_is_not(language):
    def vectorized():
        with language.plate("data", 5) as indices:
            language.sample("x", Normal(0.0, 1.0), obs=DATA[indices])

    def sequential():
        for i in language.plate("data", 5):
            language.sample(f"x_{i}", Normal(0.0, 1.0), obs=DATA[i])

    torch.testing.assert_close(total(language, vectorized), total(language, sequential))
    torch.testing.assert_close(total(language, vectorized), Normal(0.0, 1.0).log_prob(DATA).sum())


def test_draws_are_independent_along_the_dim(language):
    with language.plate("data", 1000):
        x = language.sample("x", Normal(torch.tensor([3.0]), 1.0))
    assert x.shape == (1000,)
    assert len(set(x.tolist())) == 1000


@pytest.mark.parametrize("form", ["vectorized", "sequential"])
def test_the_mean_over_all_subsamples_is_the_whole(language, form):
    """SEMANTICS 73, 77: scale = size / subsample_size; the average over all subsets is the full log-probability."""

    def model(subset):
        plate = language.plate("data", 5, subsample=torch.tensor(subset))
        if form == "vectorized":
            with plate as indices:
                language.sample("x", Normal(0.0, 1.0), obs=DATA[indices])
        else:
            for i in plate:
                language.sample(f"x_{i}", Normal(0.0, 1.0), obs=DATA[i])

    totals = [language.handlers.trace(model).get_trace(subset).log_prob_sum() for subset in combinations(range(5), 2)]
    torch.testing.assert_close(torch.stack(totals).mean(), Normal(0.0, 1.0).log_prob(DATA).sum())


def test_scales_multiply_across_plates(language):
    """SEMANTICS 73."""

    def model():
        with (
            language.plate("rows", 6, subsample_size=2, dim=-1),
            language.plate("columns", 8, subsample_size=4, dim=-2),
        ):
            language.sample("x", Normal(0.0, 1.0), obs=torch.zeros(4, 2))

    torch.testing.assert_close(total(language, model), 6 * 8 * Normal(0.0, 1.0).log_prob(torch.tensor(0.0)))


def test_subsamples_are_without_replacement(language):
    for _ in range(50):
        indices = language.plate("data", 6, subsample_size=4).indices
        assert len(set(indices.tolist())) == 4
        assert set(indices.tolist()) <= set(range(6))


def test_the_automatic_dim_is_the_rightmost_free_one(language):
    """SEMANTICS 73."""
    with language.plate("a", 2), language.plate("b", 3, dim=-3), language.plate("c", 4):
        assert language.sample("x", Normal(0.0, 1.0)).shape == (3, 4, 2)
    with language.plate("a", 2):
        assert language.sample("x", Normal(0.0, 1.0)).shape == (2,)


def test_one_dim_cannot_be_claimed_twice(language):
    """SEMANTICS 73."""
    with language.plate("a", 2, dim=-1), pytest.raises(ValueError, match="dim -1"), language.plate("b", 2, dim=-1):
        pass
    with language.plate("b", 2, dim=-1):
        assert language.sample("x", Normal(0.0, 1.0)).shape == (2,)


def test_a_size_that_does_not_fit_names_the_plate(language):
    with language.plate("a", 2), pytest.raises(ValueError, match="plate 'a' has size 2"):
        language.sample("x", Normal(torch.zeros(3), 1.0))


def test_a_loop_inside_a_block_and_a_block_inside_a_loop(language):
    def loop_in_block():
        with language.plate("rows", 4):
            for j in language.plate("columns", 3):
                language.sample(f"x_{j}", Normal(0.0, 1.0), obs=torch.zeros(4))

    def block_in_loop():
        rows = language.plate("rows", 4)
        for j in language.plate("columns", 3):
            with rows:
                language.sample(f"x_{j}", Normal(0.0, 1.0), obs=torch.zeros(4))

    expected = 12 * Normal(0.0, 1.0).log_prob(torch.tensor(0.0))
    torch.testing.assert_close(total(language, loop_in_block), expected)
    torch.testing.assert_close(total(language, block_in_loop), expected)


def test_frames_are_the_plates_around_outermost_first(language):
    with language.handlers.trace() as trace, language.plate("a", 2), language.plate("b", 6, subsample_size=3):
        language.sample("x", Normal(0.0, 1.0))
    frames = trace.nodes["x"].frames
    assert [(frame.name, frame.dim, frame.size, frame.full_size) for frame in frames] == [
        ("a", -1, 2, 2),
        ("b", -2, 3, 6),
    ]


def test_an_error_in_a_loop_leaves_the_stack_clean(language):
    """SEMANTICS 76."""

    def model():
        for i in language.plate("data", 3):
            language.sample(f"x_{i}", Normal(0.0, 1.0))
            if i == 1:
                raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        language.handlers.trace(model).get_trace()
    with language.handlers.trace() as trace:
        language.sample("after", Normal(0.0, 1.0))
    assert trace.nodes["after"].frames == ()


def test_leaving_a_loop_early_ends_its_turn(language):
    with language.handlers.trace() as trace:
        for i in language.plate("data", 3):
            language.sample(f"x_{i}", Normal(0.0, 1.0))
            break
        language.sample("after", Normal(0.0, 1.0))
    assert trace.nodes["x_0"].frames[0].counter == 0
    assert trace.nodes["after"].frames == ()


def test_a_plate_made_outside_the_model_keeps_its_minibatch(language):
    """SEMANTICS 73: the subsample is drawn when the plate is made."""
    plate = language.plate("data", 1000, subsample_size=3)

    def model():
        with plate as indices:
            return indices

    assert torch.equal(language.handlers.trace(model)(), language.handlers.trace(model)())
