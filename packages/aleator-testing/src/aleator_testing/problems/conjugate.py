"""Conjugate pairs: the loss, the evidence and the posterior are closed formulas."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, final

import torch
from torch import Tensor

import aleator
import aleator.distributions as dist
from aleator_testing.problems.formulas import log_bernoulli, log_normal
from aleator_testing.problems.problem import Truth

__all__ = ["Conjugate", "conjugate_pairs"]

DATA = torch.tensor([0.9, 1.6, 0.4, 1.3], dtype=torch.float64)
COUNTS = torch.tensor([2.0, 4.0, 3.0], dtype=torch.float64)
FLIPS = torch.tensor([1.0, 1.0, 0.0, 1.0], dtype=torch.float64)
MEANS = torch.tensor([-1.0, 2.0], dtype=torch.float64)
STATE_LOGIT = math.log(0.4 / 0.6)


@final
@dataclass(frozen=True, eq=False)
class Conjugate:
    """A model and a guide of its posterior's family.

    Attributes:
        name: for messages.
        model, guide: programs without arguments; the guide's parameter is ``theta``, the model has none.
        start: unconstrained parameters away from the posterior.
        loss: minus the evidence lower bound at given parameters, differentiable.
        evidence: log p(x).
        posterior: the parameters at which the guide is the posterior.
        requires: capabilities that the guide needs.
    """

    name: str
    model: Callable[[], Any]
    guide: Callable[[], Any]
    start: Sequence[float]
    loss: Callable[[Tensor], Tensor]
    evidence: float
    posterior: Sequence[float]
    requires: frozenset[str] = frozenset()

    def truth(self, at: Sequence[float]) -> Truth:
        """Return the loss and its gradient at given parameters."""
        t = torch.tensor(at, dtype=torch.float64, requires_grad=True)
        loss = self.loss(t)
        return Truth(loss.detach(), torch.autograd.grad(loss, t)[0])


def _theta(start: Sequence[float]) -> Tensor:
    return aleator.param("theta", torch.tensor(start, dtype=torch.float64))


def _one() -> Tensor:
    return torch.ones((), dtype=torch.float64)


def normal_normal() -> Conjugate:
    """A normal location with four measurements; the guide's parameters are location and log scale."""
    start, count, total = (-0.5, -0.9), len(DATA), DATA.sum().item()
    precision = 1.0 + count
    loc, variance = total / precision, 1.0 / precision

    def model() -> None:
        z = aleator.sample("z", dist.Normal(torch.zeros((), dtype=torch.float64), _one()))
        with aleator.plate("data", count):
            aleator.sample("x", dist.Normal(z, _one()), obs=DATA)

    def guide() -> None:
        t = _theta(start)
        aleator.sample("z", dist.Normal(t[0], t[1].exp()))

    def loss(t: Tensor) -> Tensor:
        second = (2.0 * t[1]).exp()
        log_joint = -0.5 * (t[0] ** 2 + second) - 0.5 * ((DATA - t[0]) ** 2 + second).sum()
        entropy = t[1] + 0.5 * math.log(2.0 * math.pi * math.e)
        return -(log_joint - 0.5 * precision * math.log(2.0 * math.pi) + entropy)

    square = (DATA**2).sum().item()
    evidence = -0.5 * (count * math.log(2.0 * math.pi) + math.log(precision) + square - total**2 / precision)
    return Conjugate("normal-normal", model, guide, start, loss, evidence, (loc, 0.5 * math.log(variance)))


def beta_bernoulli() -> Conjugate:
    """A probability with four flips; the guide's parameters are the logs of a and b."""
    start, ones, zeros = (0.5, 1.0), FLIPS.sum().item(), (1.0 - FLIPS).sum().item()

    def model() -> None:
        p = aleator.sample("p", dist.Beta(2.0 * _one(), 2.0 * _one()))
        with aleator.plate("data", len(FLIPS)):
            aleator.sample("x", dist.Bernoulli(probs=p), obs=FLIPS)

    def guide() -> None:
        t = _theta(start).exp()
        aleator.sample("p", dist.Beta(t[0], t[1]))

    def log_beta(a: Tensor, b: Tensor) -> Tensor:
        return torch.lgamma(a) + torch.lgamma(b) - torch.lgamma(a + b)

    def loss(t: Tensor) -> Tensor:
        a, b = t.exp().unbind()
        log_p, log_not = torch.digamma(a) - torch.digamma(a + b), torch.digamma(b) - torch.digamma(a + b)
        log_joint = (1.0 + ones) * log_p + (1.0 + zeros) * log_not - log_beta(2.0 * _one(), 2.0 * _one())
        return -(log_joint - (a - 1.0) * log_p - (b - 1.0) * log_not + log_beta(a, b))

    two = 2.0 * _one()
    evidence = (log_beta(two + ones, two + zeros) - log_beta(two, two)).item()
    posterior = (math.log(2.0 + ones), math.log(2.0 + zeros))
    return Conjugate("beta-bernoulli", model, guide, start, loss, evidence, posterior)


def gamma_poisson() -> Conjugate:
    """A rate with three counts; the guide's parameters are the logs of concentration and rate."""
    start, total, count = (1.0, 0.0), COUNTS.sum().item(), len(COUNTS)
    constant = -torch.lgamma(COUNTS + 1.0).sum()  # of the likelihood; the prior is Gamma(2, 1), whose constant is 0

    def model() -> None:
        rate = aleator.sample("rate", dist.Gamma(2.0 * _one(), _one()))
        with aleator.plate("data", count):
            aleator.sample("x", dist.Poisson(rate), obs=COUNTS)

    def guide() -> None:
        t = _theta(start).exp()
        aleator.sample("rate", dist.Gamma(t[0], t[1]))

    def loss(t: Tensor) -> Tensor:
        a, b = t.exp().unbind()
        log_rate, rate = torch.digamma(a) - t[1], a / b
        log_joint = (1.0 + total) * log_rate - (1.0 + count) * rate + constant
        log_guide = a * t[1] - torch.lgamma(a) + (a - 1.0) * log_rate - b * rate
        return -(log_joint - log_guide)

    a, b = torch.tensor(2.0 + total, dtype=torch.float64), 1.0 + count
    evidence = (constant + torch.lgamma(a) - a * math.log(b)).item()
    return Conjugate(
        "gamma-poisson", model, guide, start, loss, evidence, (math.log(2.0 + total), math.log(1.0 + count))
    )


def mixture() -> Conjugate:
    """Which of two states each of two data came from; the guide's parameters are the logits."""
    start, data = (0.3, -0.4), DATA[:2]

    def log_joint(state: Tensor) -> Tensor:
        zero = torch.zeros((), dtype=torch.float64)
        return log_bernoulli(state, zero + STATE_LOGIT) + log_normal(
            data, MEANS[0] + state * (MEANS[1] - MEANS[0]), 1.0
        )

    def model() -> None:
        with aleator.plate("data", 2):
            state = aleator.sample("state", dist.Bernoulli(logits=STATE_LOGIT * _one()))
            aleator.sample("x", dist.Normal(MEANS[0] + state * (MEANS[1] - MEANS[0]), _one()), obs=data)

    def guide() -> None:
        with aleator.plate("data", 2):
            aleator.sample("state", dist.Bernoulli(logits=_theta(start)))

    def loss(t: Tensor) -> Tensor:
        total = torch.zeros((), dtype=torch.float64)
        for value in (0.0, 1.0):
            state = torch.full((2,), value, dtype=torch.float64)
            log_q = log_bernoulli(state, t)
            total = total + (log_q.exp() * (log_joint(state) - log_q)).sum()
        return -total

    off, on = log_joint(torch.zeros(2, dtype=torch.float64)), log_joint(torch.ones(2, dtype=torch.float64))
    evidence = torch.logaddexp(off, on).sum().item()
    return Conjugate("mixture", model, guide, start, loss, evidence, (on - off).tolist(), frozenset({"non_reparam"}))


@cache
def conjugate_pairs() -> tuple[Conjugate, ...]:
    """Return every pair."""
    return normal_normal(), beta_bernoulli(), gamma_poisson(), mixture()
