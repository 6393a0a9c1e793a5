"""`seed`: a stream of one's own."""

import pytest
import torch
from torch.distributions import Bernoulli, Gamma, Normal

import aleator
import aleator.distributions as dist
from aleator import handlers


def draws(language):
    def model():
        z = language.sample("z", Normal(0.0, 1.0))
        with language.plate("data", 10, subsample_size=3) as indices:
            x = language.sample("x", Gamma(2.0, 1.0))
        return torch.cat([z.reshape(1), indices.float(), x, language.sample("b", Bernoulli(0.5)).reshape(1)])

    return model


def test_a_seeded_program_draws_the_same_each_time(language):
    """SEMANTICS 75."""
    seeded = language.handlers.seed(draws(language), rng_seed=7)
    first = seeded()
    assert torch.equal(first, seeded())
    assert not torch.equal(first, language.handlers.seed(draws(language), rng_seed=8)())


def test_the_outer_stream_goes_on_where_it_was(language):
    """SEMANTICS 75: `seed` restores the outer source."""
    torch.manual_seed(1)
    undisturbed = torch.stack([language.sample("x", Normal(0.0, 1.0)) for _ in range(2)])
    torch.manual_seed(1)
    first = language.sample("x", Normal(0.0, 1.0))
    language.handlers.seed(draws(language), rng_seed=7)()

    def fails():
        language.sample("x", Normal(0.0, 1.0))
        raise KeyError

    with pytest.raises(KeyError):
        language.handlers.seed(fails, rng_seed=3)()
    assert torch.equal(undisturbed, torch.stack([first, language.sample("x", Normal(0.0, 1.0))]))


def test_one_seed_inside_another(language):
    with language.handlers.seed(rng_seed=1):
        alone = [language.sample("x", Normal(0.0, 1.0)) for _ in range(2)]
    with language.handlers.seed(rng_seed=1):
        first = language.sample("x", Normal(0.0, 1.0))
        with language.handlers.seed(rng_seed=2):
            language.sample("x", Normal(0.0, 1.0))
        second = language.sample("x", Normal(0.0, 1.0))
    assert (first, second) == tuple(alone)


def test_one_object_inside_itself():
    """Core only: each entry begins its stream anew."""
    seeded = handlers.seed(rng_seed=1)
    with seeded:
        first = aleator.sample("x", dist.Normal(0.0, 1.0))
        with seeded:
            assert aleator.sample("x", dist.Normal(0.0, 1.0)) == first
        assert aleator.sample("x", dist.Normal(0.0, 1.0)) != first


def test_an_owned_source_outside_is_restored_too():
    """Core only: `aleator.rng` outside."""
    with aleator.rng(5):
        expected = [aleator.sample("x", dist.Normal(0.0, 1.0)) for _ in range(2)]
    with aleator.rng(5):
        first = aleator.sample("x", dist.Normal(0.0, 1.0))
        handlers.seed(lambda: aleator.sample("x", dist.Normal(0.0, 1.0)), rng_seed=0)()
        assert [first, aleator.sample("x", dist.Normal(0.0, 1.0))] == expected


@pytest.mark.parametrize("seed", [1.0, True, "1"])
def test_a_seed_is_an_int(seed):
    """Core only."""
    with pytest.raises(TypeError, match="seed expects an int"):
        handlers.seed(rng_seed=seed)
