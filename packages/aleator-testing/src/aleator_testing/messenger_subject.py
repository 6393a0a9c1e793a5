"""A handler under test, and the program that it is run around."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, final

import torch
from torch import Tensor

import aleator
import aleator.distributions as dist
from aleator import ParamStore, handlers
from aleator.handlers import Messenger
from aleator.infer import density

__all__ = ["MessengerSubject", "every_kind_of_site"]


@final
class MessengerSubject:
    """A handler that the kit can make anew.

    Args:
        factory: makes the handler; called without arguments.

    Raises:
        TypeError: it does not give a ``Messenger``.

    Example:
        >>> from aleator import handlers
        >>> MessengerSubject(lambda: handlers.scale(scale=2.0)).name
        'ScaleMessenger'
    """

    def __init__(self, factory: Callable[[], Messenger]) -> None:
        made = factory()
        if not isinstance(made, Messenger):
            raise TypeError(f"the kit checks what makes a Messenger, but found {type(made).__name__}")
        self.make = factory
        self.name = type(made).__name__

    def supports(self, capability: str) -> bool:
        """Handlers declare no capabilities."""
        return False


def every_kind_of_site() -> Tensor:
    """Run a program with each kind of site: parameter, plate, subsample, loop, latent, observed, deterministic."""
    loc = aleator.param("loc", torch.tensor(0.3))
    total = aleator.sample("z", dist.Normal(loc, 1.0))
    with aleator.plate("data", 4, subsample_size=2) as index:
        local = aleator.sample("local", dist.Normal(total, 1.0))
        aleator.sample("x", dist.Normal(local, 0.5), obs=torch.arange(4.0)[index])
    for step in aleator.markov(range(2)):
        total = total + aleator.sample(f"step_{step}", dist.Bernoulli(torch.tensor(0.4)))
    return aleator.deterministic("total", total)


def outcome_of(run: Callable[[], Any], seed: int = 5) -> dict[str, list[float]]:
    """Return what a program draws and how it scores, site by site, under a seed and in a store of its own."""
    with ParamStore(), aleator.rng(seed):
        with handlers.trace() as trace:
            run()
        factors = density(trace)
    found = {name: [float(each.scaled.detach().sum())] for name, each in factors.items()}
    for name in (*trace.stochastic_nodes, *trace.observation_nodes):
        found[f"{name}, value"] = trace.nodes[name].value.detach().flatten().tolist()
    return found
