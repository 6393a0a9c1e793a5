"""A random walk of 100 sites, traced once: what one ``sample`` costs with its distribution, its draw and its record."""

from __future__ import annotations

from torch import Tensor

from bench.contract import Case, Program

__all__ = ["CASE"]

LENGTH = 100


def in_aleator(validate: bool) -> Program:
    """The walk in Aleator."""
    import aleator
    import aleator.distributions as dist
    from aleator import handlers

    aleator.enable_validation(validate)
    names = [f"x_{t}" for t in range(LENGTH)]

    def walk() -> Tensor | float:
        x: Tensor | float = 0.0
        for name in names:
            x = aleator.sample(name, dist.Normal(x, 1.0))
        return x

    def run() -> object:
        return handlers.trace(walk).get_trace()

    def reading() -> float:
        return float(handlers.trace(walk).get_trace().log_prob_sum())

    return Program(run, reading, aleator.set_rng_seed)


def in_pyro(validate: bool) -> Program:
    """The walk in Pyro."""
    import pyro
    import pyro.distributions as dist
    from pyro import poutine

    pyro.enable_validation(validate)
    names = [f"x_{t}" for t in range(LENGTH)]

    def walk() -> Tensor | float:
        x: Tensor | float = 0.0
        for name in names:
            x = pyro.sample(name, dist.Normal(x, 1.0))
        return x

    def run() -> object:
        return poutine.trace(walk).get_trace()

    def reading() -> float:
        return float(poutine.trace(walk).get_trace().log_prob_sum())

    return Program(run, reading, pyro.set_rng_seed)


CASE = Case(
    "chain",
    f"chain of {LENGTH} sites, traced",
    {"aleator": in_aleator, "pyro": in_pyro},
    per=LENGTH,
    unit="site",
    mark=1 / 3,
)
