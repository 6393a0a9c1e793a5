"""Programs without a plate: one draw, draws that depend on each other, helpers of the guide."""

from __future__ import annotations

import torch

import aleator
import aleator.distributions as dist
from aleator_testing.problems.formulas import log_normal
from aleator_testing.problems.problem import Latent, Problem, draw, theta

__all__ = ["X", "auxiliary", "chain", "named", "needs", "single"]

X = torch.tensor([0.3, -0.7, 1.1], dtype=torch.float64)
ONE = torch.ones((), dtype=torch.float64)


def needs(*kinds: str) -> frozenset[str]:
    """Return the capabilities that draws of these kinds need."""
    return frozenset({"non_reparam"}) if "bernoulli" in kinds else frozenset()


def named(family: str, first: str, second: str) -> str:
    """Return a problem's name from its family and the kinds of its draws."""
    return f"{family}-{first}" if first == second else f"{family}-{first}-{second}"


def single(kind: str) -> Problem:
    """One latent, one datum whose location has a parameter of the model."""

    def model() -> None:
        z = draw(kind, "z")
        aleator.sample("x", dist.Normal(2.0 * z + theta()[-2], ONE), obs=X[0])

    def guide() -> None:
        draw(kind, "z", theta()[0])

    z = Latent("z", kind, (), lambda v, t: t[0])
    return Problem(
        f"single-{kind}",
        model,
        guide,
        (z,),
        lambda v, t: z.kl(v, t) + log_normal(X[0], 2.0 * v["z"] + t[-2], 1.0),
        needs(kind),
    )


def chain(first: str, second: str, rule: str | None = None) -> Problem:
    """A second draw that depends on the first, in the guide as in the likelihood.

    With a ``rule``, the second site asks for it.
    """
    infer = {} if rule is None else {"gradient": rule}

    def model() -> None:
        b = draw(first, "b")
        z = draw(second, "z")
        aleator.sample("x", dist.Normal(z * (1.0 + b) + theta()[-2], ONE), obs=X[0])

    def guide() -> None:
        t = theta()
        b = draw(first, "b", t[0])
        draw(second, "z", t[1] + b * t[2], infer=infer)

    b = Latent("b", first, (), lambda v, t: t[0])
    z = Latent("z", second, (), lambda v, t: t[1] + v["b"] * t[2])
    return Problem(
        f"chain-{first}-{second}" + ("" if rule is None else f"-{rule}"),
        model,
        guide,
        (b, z),
        lambda v, t: b.kl(v, t) + z.kl(v, t) + log_normal(X[0], v["z"] * (1.0 + v["b"]) + t[-2], 1.0),
        needs(first, second) | (frozenset({"non_reparam"}) if rule == "score" else frozenset()),
        rule=rule or "pathwise",
    )


def auxiliary(kind: str) -> Problem:
    """A helper of the guide that the model does not have: its -log q belongs to the objective."""

    def model() -> None:
        z = draw(kind, "z")
        aleator.sample("x", dist.Normal(2.0 * z + theta()[-2], ONE), obs=X[0])

    def guide() -> None:
        a = draw(kind, "a", theta()[1], infer={"is_auxiliary": True})
        draw(kind, "z", theta()[0] + a)

    a = Latent("a", kind, (), lambda v, t: t[1])
    z = Latent("z", kind, (), lambda v, t: t[0] + v["a"])
    return Problem(
        f"auxiliary-{kind}",
        model,
        guide,
        (a, z),
        lambda v, t: z.kl(v, t) - a.log_guide(v, t) + log_normal(X[0], 2.0 * v["z"] + t[-2], 1.0),
        needs(kind),
    )
