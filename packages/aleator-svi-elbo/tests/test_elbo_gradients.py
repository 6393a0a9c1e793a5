"""Value and gradient of Trace_ELBO against exact enumeration: no noise, no tolerance to hide in."""

from __future__ import annotations

import pytest
import torch

from aleator_svi_elbo import Trace_ELBO
from exact_expectation import expected, runs, truth
from gradient_cases import CASES

PARTICLES = {
    "one": {"num_particles": 1},
    "two": {"num_particles": 2},
    "vectorized": {"num_particles": 2, "vectorize_particles": True},
}
GRID = [
    pytest.param(name, how, id=f"{name}-{how}")
    for name, case in CASES.items()
    for how, options in PARTICLES.items()
    if runs(case, options["num_particles"]) <= 400
]


@pytest.mark.parametrize(("name", "how"), GRID)
def test_loss_and_gradient_equal_enumeration(name, how):
    """SEMANTICS 1 to 3, 6.

    Holds score terms, scales, masks, plates and particles; each broken twin next door fails here.
    """
    case = CASES[name]
    theta = case.parameters()
    true_loss = truth(case, theta)
    (true_gradient,) = torch.autograd.grad(true_loss, theta)
    loss, gradient = expected(case, Trace_ELBO(**PARTICLES[how]))
    torch.testing.assert_close(loss, true_loss.detach(), rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(gradient, true_gradient, rtol=1e-10, atol=1e-12)


def test_the_grid_holds_every_kind_of_particles():
    for how in PARTICLES:
        assert sum(entry.values[1] == how for entry in GRID) >= 10
