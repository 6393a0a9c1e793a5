"""The one place through which everything of Aleator draws.

A context has a source of randomness, or none. Without one, draws come from torch's process generator, exactly as plain
torch would draw them. ``with rng(seed):`` gives the context a source of its own: threads and tasks that each have one
never meet, and the process generator is left alone.

Every draw can be recorded by ``make_fx`` and mapped by ``torch.func.vmap(randomness="different")``: no draw reads a
value on the host. A recorded program draws from the process generator, so that it can be replayed from any state
(see :func:`foreign_draw`).
"""

from __future__ import annotations

from aleator.randomness.context import current, foreign_draw, preserve, rng, set_rng_seed
from aleator.randomness.draws import (
    bernoulli,
    binomial,
    cauchy,
    dirichlet,
    exponential,
    gamma,
    is_interpreted,
    multinomial,
    normal,
    permutation,
    poisson,
    uniform,
)
from aleator.randomness.source import RandomSource, State

__all__ = [
    "RandomSource",
    "State",
    "bernoulli",
    "binomial",
    "cauchy",
    "current",
    "dirichlet",
    "exponential",
    "foreign_draw",
    "gamma",
    "is_interpreted",
    "multinomial",
    "normal",
    "permutation",
    "poisson",
    "preserve",
    "rng",
    "set_rng_seed",
    "uniform",
]
