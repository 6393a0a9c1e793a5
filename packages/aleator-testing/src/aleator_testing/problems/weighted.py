"""Programs with scales and masks: what counts in the objective, and how much."""

from __future__ import annotations

import torch

import aleator
import aleator.distributions as dist
from aleator import handlers
from aleator_testing.problems.formulas import log_normal
from aleator_testing.problems.problem import Latent, Problem, draw, theta
from aleator_testing.problems.programs import ONE, X, named, needs

__all__ = ["masked", "masked_latent", "scaled"]

WEIGHTS = torch.tensor([0.5, 3.0], dtype=torch.float64)
KEPT = torch.tensor([True, False])


def scaled(kind: str, inner: str | None = None) -> Problem:
    """A scale of 2.5 on a global draw, another per datum on local ones, none on the data."""
    inner = inner or kind

    def model() -> None:
        with handlers.scale(scale=2.5):
            b = draw(kind, "b")
        with aleator.plate("data", 2):
            with handlers.scale(scale=WEIGHTS):
                z = draw(inner, "z")
            aleator.sample("x", dist.Normal(2.0 * z - b + theta()[-2], ONE), obs=X[:2])

    def guide() -> None:
        t = theta()
        with handlers.scale(scale=2.5):
            b = draw(kind, "b", t[0])
        with aleator.plate("data", 2), handlers.scale(scale=WEIGHTS):
            draw(inner, "z", t[1:3] + b)

    b = Latent("b", kind, (), lambda v, t: t[0])
    z = Latent("z", inner, (2,), lambda v, t: t[1:3] + v["b"])
    return Problem(
        named("scale", kind, inner),
        model,
        guide,
        (b, z),
        lambda v, t: (
            2.5 * b.kl(v, t) + (WEIGHTS * z.kl(v, t) + log_normal(X[:2], 2.0 * v["z"] - v["b"] + t[-2], 1.0)).sum()
        ),
        needs(kind, inner),
    )


def masked(kind: str, inner: str | None = None) -> Problem:
    """The second row counts neither in the draws nor in the data; what it would add is not even finite."""
    inner = inner or kind
    data = torch.where(KEPT, X[:2], torch.tensor(1e200, dtype=torch.float64))

    def model() -> None:
        b = draw(kind, "b")
        with aleator.plate("data", 2), handlers.mask(mask=KEPT):
            z = draw(inner, "z")
            aleator.sample("x", dist.Normal(2.0 * z - b + theta()[-2], ONE), obs=data)

    def guide() -> None:
        t = theta()
        b = draw(kind, "b", t[0])
        with aleator.plate("data", 2), handlers.mask(mask=KEPT):
            draw(inner, "z", t[1:3] + b)

    b = Latent("b", kind, (), lambda v, t: t[0])
    z = Latent("z", inner, (2,), lambda v, t: t[1:3] + v["b"])

    def log_weight(v: dict[str, torch.Tensor], t: torch.Tensor) -> torch.Tensor:
        row = z.kl(v, t) + log_normal(X[:2], 2.0 * v["z"] - v["b"] + t[-2], 1.0)
        return b.kl(v, t) + row[0]

    return Problem(named("mask", kind, inner), model, guide, (b, z), log_weight, needs(kind, inner))


def masked_latent(kind: str) -> Problem:
    """Draws that do not count themselves, before data that do: their gradient is still the data's."""

    def model() -> None:
        with aleator.plate("data", 2):
            with handlers.mask(mask=KEPT):
                z = draw(kind, "z")
            aleator.sample("x", dist.Normal(2.0 * z + theta()[-2], ONE), obs=X[:2])

    def guide() -> None:
        with aleator.plate("data", 2), handlers.mask(mask=KEPT):
            draw(kind, "z", theta()[:2])

    z = Latent("z", kind, (2,), lambda v, t: t[:2])
    return Problem(
        f"masked-latent-{kind}",
        model,
        guide,
        (z,),
        lambda v, t: torch.where(KEPT, z.kl(v, t), 0.0) + log_normal(X[:2], 2.0 * v["z"] + t[-2], 1.0),
        needs(kind),
        per_datum=True,
    )
