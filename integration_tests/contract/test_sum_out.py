"""Second contract program: one discrete site summed out exactly through a reserved dim."""

from __future__ import annotations

from typing import ClassVar

import torch

import aleator
import aleator.distributions as dist
from aleator import handlers
from aleator.handlers import Messenger
from aleator.infer import AbstractEstimator, Capabilities, Estimate, density
from aleator.ops import logsumexp
from aleator.plates import reserve_dims

DATA = torch.tensor([0.2, 1.1, -0.4, 2.0], dtype=torch.float64)


# [contract]
class EnumerateIn(Messenger):
    """Gives one site all values of its support at once, along a reserved dim."""

    def __init__(self, name: str, dim: int) -> None:
        self.name, self.dim = name, dim

    def process_sample(self, site) -> None:
        if site.name == self.name:
            values = site.fn.enumerate_support(expand=False)
            site.value = values.reshape(values.shape[:1] + (1,) * (-self.dim - 1))
            site.done = True


class SummedOut(AbstractEstimator):
    """Minus the log evidence of a model with one discrete latent site outside its plates; the guide is empty."""

    capabilities: ClassVar[Capabilities] = Capabilities(enumeration=True)

    def __init__(self, name: str, nesting: int) -> None:
        self.name, self.nesting = name, nesting

    def estimate(self, model, guide, /, *args, **kwargs) -> Estimate:
        with handlers.trace() as trace:
            (dim,) = reserve_dims(1, left_of=-self.nesting)
            with EnumerateIn(self.name, dim):
                model(*args, **kwargs)
        total = 0.0
        for factor in density(trace).values():
            term = factor.scaled
            plates = [axis for axis in range(-term.dim(), 0) if axis != dim]
            total = total + (term.sum(plates) if plates else term)
        loss = -logsumexp(total, 0)
        return Estimate(loss.detach(), loss)


# [contract]


def model(shift):
    z = aleator.sample("z", dist.Categorical(torch.tensor([0.5, 0.2, 0.3], dtype=torch.float64)))
    with aleator.plate("data", 4):
        aleator.sample("x", dist.Normal(z + shift, torch.tensor(0.9, dtype=torch.float64)), obs=DATA)


def test_value_and_gradient_equal_brute_force():
    """Catches a support that is not aligned with its dim, and a plate summed before or after the wrong dim."""
    shift = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    loss = SummedOut("z", nesting=1).differentiable_loss(model, lambda shift: None, shift)
    joint = [
        torch.log(torch.tensor(p, dtype=torch.float64))
        + torch.distributions.Normal(z + shift, 0.9).log_prob(DATA).sum()
        for z, p in enumerate((0.5, 0.2, 0.3))
    ]
    truth = -torch.logsumexp(torch.stack(joint), 0)
    torch.testing.assert_close(loss, truth, rtol=1e-14, atol=1e-14)
    gradients = [torch.autograd.grad(value, shift)[0] for value in (loss, truth)]
    torch.testing.assert_close(gradients[0], gradients[1], rtol=1e-13, atol=1e-13)


def test_reserved_dim_ends_with_the_run():
    SummedOut("z", nesting=1).loss(model, lambda shift: None, torch.tensor(0.0))
    with handlers.trace(), aleator.plate("outer", 2), aleator.plate("inner", 3) as _:
        assert aleator.sample("y", dist.Normal(0.0, 1.0)).shape == (3, 2)


def test_automatic_plates_keep_out_of_reserved_dims():
    with handlers.trace():
        assert list(reserve_dims(1, left_of=0)) == [-1]
        with aleator.plate("data", 3):
            assert aleator.sample("x", dist.Normal(0.0, 1.0)).shape == (3, 1)
