"""The draw at a sample site."""

import pytest
import torch

import aleator.distributions as dist
from aleator import randomness
from aleator.drawing import draw


@pytest.mark.parametrize("module", [dist, torch.distributions], ids=["ours", "torch's"])
def test_the_gradient_is_kept_where_there_is_one(module):
    loc = torch.tensor(0.0, requires_grad=True)
    assert draw(module.Normal(loc, 1.0)).requires_grad
    assert not draw(module.Bernoulli(logits=loc)).requires_grad


@pytest.mark.parametrize("module", [dist, torch.distributions], ids=["ours", "torch's"])
def test_draws_come_from_the_contexts_source(module):
    def some():
        return torch.stack([draw(module.Normal(0.0, 1.0)), draw(module.Gamma(1.0, 1.0)), draw(module.Poisson(3.0))])

    state = torch.get_rng_state()
    with randomness.rng(3):
        first = some()
    with randomness.rng(3):
        assert torch.equal(some(), first)
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("module", [dist, torch.distributions], ids=["ours", "torch's"])
def test_without_a_source_torchs_generator_is_drawn_from(module):
    """DESIGN 3: the default is torch's own, so that `set_rng_seed` behaves as in the peers."""
    state = torch.get_rng_state()
    try:
        torch.manual_seed(5)
        first = draw(module.Normal(0.0, 1.0))
        torch.manual_seed(5)
        assert draw(module.Normal(0.0, 1.0)) == first == torch.distributions.Normal(0.0, 1.0).sample() * 0 + first
    finally:
        torch.set_rng_state(state)


def test_arguments_go_to_the_draw():
    assert draw(dist.Normal(0.0, 1.0), ((4,),)).shape == (4,)
    assert draw(torch.distributions.Normal(0.0, 1.0), (), {"sample_shape": torch.Size([4])}).shape == (4,)
    assert draw(lambda *args, **kwargs: (args, kwargs), (1,), {"a": 2}) == ((1,), {"a": 2})
