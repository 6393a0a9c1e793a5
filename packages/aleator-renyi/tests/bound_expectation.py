"""Expectations of a K-sample bound without noise: every combination of K draws is one element of an outer plate.

Bernoulli draws run through both values, normal draws through the nodes of a Gauss-Hermite rule. The plate of
combinations is around every site, so each combination has a bound of its own; parameters are given once per
combination, so that one backward pass gives every combination's gradient, to be weighted by its probability. The truth
is the derivative of the weighted sum of bounds, from formulas written without the library.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

import aleator
import aleator.distributions as dist
from aleator.handlers import Messenger

DATA = 0.7
THETA = (0.3, -0.4, 0.5, 0.2)  # mean and log scale of z, logit of b, offset in the model


@dataclass(frozen=True)
class Programs:
    """A model and a guide with a normal site, a Bernoulli site, or both, the Bernoulli one first.

    Attributes:
        with_normal, with_bernoulli: which sites there are.
        rules: gradient rule by site.
        normal_first: the normal site comes before the Bernoulli one, whose logit depends on it.
    """

    with_normal: bool
    with_bernoulli: bool
    rules: dict[str, str]
    normal_first: bool = False

    def model(self, theta: Tensor) -> None:
        with aleator.plate("combinations", theta.shape[-1]):
            bit = aleator.sample("b", dist.Bernoulli(_double(0.3))) if self.with_bernoulli else 0.0
            z = aleator.sample("z", dist.Normal(_double(0.0), _double(1.0))) if self.with_normal else 0.0
            aleator.sample("x", dist.Normal(z + 1.5 * bit + theta[3], _double(0.8)), obs=_double(DATA))

    def guide(self, theta: Tensor) -> None:
        with aleator.plate("combinations", theta.shape[-1]):
            z: Any = 0.0
            if self.with_normal and self.normal_first:
                z = self._normal(theta, 0.0)
            bit: Any = 0.0
            if self.with_bernoulli:
                bit = aleator.sample("b", dist.Bernoulli(logits=theta[2] + z), infer=self._infer("b"))
            if self.with_normal and not self.normal_first:
                self._normal(theta, bit)

    def _normal(self, theta: Tensor, bit: Any) -> Tensor:
        return aleator.sample("z", dist.Normal(theta[0] - 0.6 * bit, theta[1].exp()), infer=self._infer("z"))

    def _infer(self, name: str) -> dict[str, Any]:
        return {"gradient": self.rules[name]} if name in self.rules else {}

    def log_weight(self, theta: Tensor, noise: Tensor, bit: Tensor) -> Tensor:
        """log p - log q of a particle by formulas alone."""
        total = torch.zeros_like(noise)
        z = torch.zeros_like(noise)
        logit = theta[2]
        if self.with_normal:
            loc = theta[0] if self.normal_first else theta[0] - 0.6 * bit
            z = loc + theta[1].exp() * noise
            total = total + _log_normal(z, _double(0.0), 1.0) - _log_normal(z, loc, theta[1].exp())
            logit = logit + z if self.normal_first else logit
        if self.with_bernoulli:
            prior = bit * math.log(0.3) + (1.0 - bit) * math.log(0.7)
            total = total + prior - _log_bernoulli(bit, logit)
        return total + _log_normal(_double(DATA), z + 1.5 * bit + theta[3], 0.8)

    def log_probability(self, theta: Tensor, noise: Tensor, bit: Tensor) -> Tensor:
        """The log-probability of a particle's bit."""
        if not self.with_bernoulli:
            return torch.zeros_like(noise)
        logit = theta[2] + (theta[0] + theta[1].exp() * noise if self.normal_first and self.with_normal else 0.0)
        return _log_bernoulli(bit, logit)


def combinations(programs: Programs, particles: int, nodes: int) -> tuple[Tensor, Tensor, Tensor]:
    """Noise and bits of all combinations, of shape (particles, combinations), and the log weight of the nodes."""
    points, weights = _gauss_hermite(nodes) if programs.with_normal else (_double([0.0]), _double([1.0]))
    bits = [0.0, 1.0] if programs.with_bernoulli else [0.0]
    one = [
        (point, weight, bit) for point, weight in zip(points.tolist(), weights.tolist(), strict=True) for bit in bits
    ]
    table = _double(list(itertools.product(one, repeat=particles)))  # combinations, particles, 3
    return table[..., 0].T.contiguous(), table[..., 2].T.contiguous(), table[..., 1].log().sum(-1)


def true_bound(programs: Programs, particles: int, nodes: int, reduce: Any) -> tuple[Tensor, Tensor]:
    """The expectation of the bound, and its gradient."""
    theta = _double(THETA).requires_grad_()
    noise, bits, log_node = combinations(programs, particles, nodes)
    log_weight = programs.log_weight(theta, noise, bits)
    log_probability = log_node + programs.log_probability(theta, noise, bits).sum(0)
    value = (log_probability.exp() * reduce(log_weight)).sum()
    return value.detach(), torch.autograd.grad(value, theta)[0]


def estimated_bound(programs: Programs, estimator: Any, nodes: int) -> tuple[Tensor, Tensor]:
    """The estimator's value and gradient, weighted over all combinations."""
    noise, bits, log_node = combinations(programs, estimator.num_particles, nodes)
    theta = _double(THETA).unsqueeze(-1).expand(4, noise.shape[1]).clone().requires_grad_()
    with Forced(noise, bits, stacked=estimator.vectorize_particles and estimator.num_particles > 1):
        estimate = estimator.estimate(programs.model, programs.guide, theta)
    (gradient,) = torch.autograd.grad(estimate.surrogate, theta)
    plain = _double(THETA)
    weight = (log_node + programs.log_probability(plain, noise, bits).sum(0)).exp()
    return -estimate.loss, -(gradient * weight).sum(-1)


class Forced(Messenger):
    """Gives the guide's sites the draws of all combinations."""

    def __init__(self, noise: Tensor, bits: Tensor, stacked: bool) -> None:
        self._noise, self._bits, self._stacked = noise, bits, stacked
        self._turn = {"z": 0, "b": 0}

    def process_sample(self, site: Any) -> None:
        if site.value is not None:
            return
        draws = self._noise if site.name == "z" else self._bits
        if self._stacked:
            raw = draws
        else:
            raw = draws[self._turn[site.name]]
            self._turn[site.name] += 1
        site.value = site.fn.loc + site.fn.scale * raw if site.name == "z" else raw


def _gauss_hermite(count: int) -> tuple[Tensor, Tensor]:
    """Nodes and weights for the standard normal, from the eigenvalues of the Jacobi matrix (Golub and Welsch)."""
    off = torch.arange(1, count, dtype=torch.float64).sqrt()
    values, vectors = torch.linalg.eigh(torch.diag(off, 1) + torch.diag(off, -1))
    return values, vectors[0] ** 2


def _log_normal(value: Tensor, loc: Tensor, scale: Any) -> Tensor:
    scale = torch.as_tensor(scale, dtype=torch.float64)
    return -0.5 * ((value - loc) / scale) ** 2 - scale.log() - 0.5 * math.log(2.0 * math.pi)


def _log_bernoulli(bit: Tensor, logit: Tensor) -> Tensor:
    return bit * logsigmoid(logit) + (1.0 - bit) * logsigmoid(-logit)


def _double(value: Any) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)
