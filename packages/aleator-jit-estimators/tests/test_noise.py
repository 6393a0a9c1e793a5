"""Draws made before a compiled step are those that the step itself would have made."""

from __future__ import annotations

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator.infer import Trace_ELBO, compile, functional
from aleator.optim import Adam
from aleator_jit_estimators.making import Program
from aleator_jit_estimators.noise import Draw, Noise


def normal(shape):
    return dist.Normal(torch.zeros(shape), 1.0).to_event(len(shape))


MIXED = {
    "few normals": [normal(()), normal((8,)), normal((3,))],
    "many normals": [normal((20,)), normal(()), normal((4, 5))],
    "other kinds": [dist.Uniform(-1.0, 2.0), normal(()), dist.Exponential(torch.ones(3)).to_event(1), normal((17,))],
}


def trained(latents, steps=3):
    """The states and losses of eager and compiled steps, and the program."""

    def model():
        for at, latent in enumerate(latents):
            aleator.sample(f"z{at}", latent)

    def guide():
        for at, latent in enumerate(latents):
            aleator.sample(f"z{at}", latent)
        aleator.sample("w", dist.Normal(aleator.param("w_at", torch.tensor(0.0)), 1.0), infer={"is_auxiliary": True})

    svi = functional.SVI(model, guide, Trace_ELBO(), Adam(lr=0.05))
    compiled = compile(svi, backend="eager")
    found = []
    for each in (svi, compiled):
        state, _ = each.init(7)
        for _ in range(steps):
            state, loss = each.update(state)
            found.append((loss, *torch.utils._pytree.tree_leaves(state)))
    (program,) = compiled.step_function._programs.values()
    return found[:steps], found[steps:], program


@pytest.mark.parametrize("latents", MIXED.values(), ids=MIXED.keys())
def test_draws_are_those_of_the_eager_step(latents):
    """SEMANTICS 77: bit for bit, the stream's end included; catches draws in another order or of another algorithm."""
    eager, compiled, program = trained(latents)
    assert isinstance(program, Program)
    assert program.noise is not None
    for one, other in zip(eager, compiled, strict=True):
        assert len(one) == len(other)
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_draws_that_depend_on_values_stay_in_the_graph():
    eager, compiled, program = trained([normal(()), dist.Gamma(torch.tensor(2.0), torch.tensor(1.0)), normal((3,))])
    assert program.noise is None
    for one, other in zip(eager, compiled, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("numbers", [(1, 8, 3), (1, 14), (1, 15), (16, 1), (3, 40, 2, 2), (0, 5)])
def test_joined_normals_are_the_stream_of_single_ones(numbers):
    """Torch draws sixteen normals and more in another way; the stream may be joined below that only."""
    noise = Noise(tuple(Draw("normal_", (), number) for number in numbers), torch.float32, steps=3)
    ours, plain = torch.Generator().manual_seed(3), torch.Generator().manual_seed(3)
    expected = torch.cat([torch.randn(number, generator=plain) for _ in range(3) for number in numbers])
    assert torch.equal(noise.draw(ours), expected)
    assert torch.equal(ours.get_state(), plain.get_state())
