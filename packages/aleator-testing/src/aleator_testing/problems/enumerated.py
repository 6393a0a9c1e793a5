"""Programs with draws that an estimator sums out: in the guide, in the model, beside draws along a path."""

from __future__ import annotations

import torch
from torch import Tensor

import aleator
import aleator.distributions as dist
from aleator_testing.problems.formulas import log_bernoulli, log_normal
from aleator_testing.problems.problem import PRIOR_LOGIT, Latent, Problem, draw, theta
from aleator_testing.problems.programs import ONE, X

__all__ = ["enumerated_problems"]

MARK = {"enumerate": "parallel"}
NEEDS = frozenset({"enumeration"})


def guide_side() -> Problem:
    """A local discrete draw per datum, summed out on both sides of a plate."""

    def model() -> None:
        with aleator.plate("data", 2):
            z = draw("bernoulli", "z")
            aleator.sample("x", dist.Normal(2.0 * z + theta()[-2], ONE), obs=X[:2])

    def guide() -> None:
        with aleator.plate("data", 2):
            draw("bernoulli", "z", theta()[:2], infer=MARK)

    z = Latent("z", "bernoulli", (2,), lambda v, t: t[:2])
    return Problem(
        "enumerated-guide",
        model,
        guide,
        (z,),
        lambda v, t: (z.kl(v, t) + log_normal(X[:2], 2.0 * v["z"] + t[-2], 1.0)).sum(),
        NEEDS,
    )


def beside_path() -> Problem:
    """A marked draw before one along a path that depends on it."""

    def model() -> None:
        b = draw("bernoulli", "b")
        z = draw("normal", "z")
        aleator.sample("x", dist.Normal(z * (1.0 + b) + theta()[-2], ONE), obs=X[0])

    def guide() -> None:
        t = theta()
        b = draw("bernoulli", "b", t[0], infer=MARK)
        draw("normal", "z", t[1] + b * t[2])

    b = Latent("b", "bernoulli", (), lambda v, t: t[0])
    z = Latent("z", "normal", (), lambda v, t: t[1] + v["b"] * t[2])
    return Problem(
        "enumerated-before-path",
        model,
        guide,
        (b, z),
        lambda v, t: b.kl(v, t) + z.kl(v, t) + log_normal(X[0], v["z"] * (1.0 + v["b"]) + t[-2], 1.0),
        NEEDS,
    )


def model_side() -> Problem:
    """A state per datum that only the model has: the data's density is its mixture."""

    def model() -> None:
        z = draw("normal", "z")
        with aleator.plate("data", 2):
            state = draw("bernoulli", "state", infer=MARK)
            aleator.sample("x", dist.Normal(z + theta()[-2] * state, ONE), obs=X[:2])

    def guide() -> None:
        draw("normal", "z", theta()[0])

    z = Latent("z", "normal", (), lambda v, t: t[0])

    def log_weight(v: dict[str, Tensor], t: Tensor) -> Tensor:
        zero = torch.zeros((), dtype=torch.float64)
        parts = [
            log_bernoulli(zero + state, zero + PRIOR_LOGIT) + log_normal(X[:2], v["z"] + t[-2] * state, 1.0)
            for state in (0.0, 1.0)
        ]
        return z.kl(v, t) + torch.logaddexp(*parts).sum()

    return Problem("enumerated-model", model, guide, (z,), log_weight, NEEDS)


def enumerated_problems() -> tuple[Problem, ...]:
    """Return every problem of this file."""
    return guide_side(), beside_path(), model_side()
