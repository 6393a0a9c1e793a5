"""A mixture of eight Gaussians over a thousand points, whose clusters are summed out."""

from __future__ import annotations

import torch

from bench.cases import training
from bench.contract import Case, Program

__all__ = ["CASE"]

POINTS, CLUSTERS = 1000, 8


def data() -> tuple[torch.Tensor, torch.Tensor]:
    """Points around eight places, and places to start from."""
    source = torch.Generator().manual_seed(8)
    centers = torch.linspace(-8.0, 8.0, CLUSTERS)
    clusters = torch.randint(CLUSTERS, (POINTS,), generator=source)
    return centers[clusters] + torch.randn(POINTS, generator=source), centers + 0.5


def in_aleator(validate: bool) -> Program:
    """The training step with ``TraceEnum_ELBO``, of parameters that are points."""
    import aleator
    import aleator.distributions as dist
    from aleator.infer import TraceEnum_ELBO

    points, start = data()

    def model() -> None:
        weights = aleator.param("weights", torch.ones(CLUSTERS) / CLUSTERS, constraint=dist.constraints.simplex)
        locs = aleator.param("locs", start)
        scale = aleator.param("scale", torch.tensor(1.5), constraint=dist.constraints.positive)
        with aleator.plate("points", POINTS):
            cluster = aleator.sample("cluster", dist.Categorical(weights), infer={"enumerate": "parallel"})
            aleator.sample("point", dist.Normal(locs[cluster], scale), obs=points)

    return training.in_aleator(model, _nothing, 0.01, validate, TraceEnum_ELBO(max_plate_nesting=1))


def in_pyro(validate: bool) -> Program:
    """The same in Pyro."""
    import pyro
    import pyro.distributions as dist
    from pyro.infer import TraceEnum_ELBO

    points, start = data()

    def model() -> None:
        weights = pyro.param("weights", torch.ones(CLUSTERS) / CLUSTERS, constraint=dist.constraints.simplex)
        locs = pyro.param("locs", start)
        scale = pyro.param("scale", torch.tensor(1.5), constraint=dist.constraints.positive)
        with pyro.plate("points", POINTS):
            cluster = pyro.sample("cluster", dist.Categorical(weights), infer={"enumerate": "parallel"})
            pyro.sample("point", dist.Normal(locs[cluster], scale), obs=points)

    return training.in_pyro(model, _nothing, 0.01, validate, TraceEnum_ELBO(max_plate_nesting=1))


def _nothing() -> None:
    """A guide without sites."""


CASE = Case(
    "gaussian_mixture",
    f"mixture of {CLUSTERS} Gaussians, {POINTS} points, clusters summed out",
    {"aleator": in_aleator, "pyro": in_pyro},
    mark=0.5,
)
