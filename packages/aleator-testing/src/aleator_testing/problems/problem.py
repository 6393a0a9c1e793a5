"""A model and a guide, and the same objective in formulas."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, final

import torch
from torch import Tensor

import aleator
import aleator.distributions as dist
from aleator_testing.enumeration import NODES
from aleator_testing.problems.formulas import log_bernoulli, log_normal, reduce_particles

__all__ = ["START", "Latent", "Problem", "Truth", "draw", "enumerated_truth", "theta"]

Values = dict[str, Tensor]
Kind = str  # "normal", "bernoulli"

# Parameters of the guides (five), a parameter of the models, the log of the guides' scale.
START = (0.4, -0.2, 0.7, 0.3, -0.5, 0.2, -0.1)
PRIOR_LOGIT = math.log(0.3 / 0.7)
BITS = {0.0: 1.0, 1.0: 1.0}


def theta() -> Tensor:
    """Return the parameters that all these programs share."""
    return aleator.param("theta", torch.tensor(START, dtype=torch.float64))


def draw(kind: Kind, name: str, parameter: Tensor | None = None, /, **keywords: Any) -> Tensor:  # noqa: ANN401  # sample's own
    """Sample a site: from the prior, or from a guide whose location or logit is ``parameter``."""
    values = torch.zeros((), dtype=torch.float64) if parameter is None else parameter
    if kind == "normal":
        scale = torch.ones((), dtype=torch.float64) if parameter is None else theta()[-1].exp()
        fn: dist.Distribution = dist.Normal(values, scale)
    else:
        fn = dist.Bernoulli(logits=values + PRIOR_LOGIT if parameter is None else values)
    value: Tensor = aleator.sample(name, fn, **keywords)
    return value


@final
@dataclass(frozen=True)
class Latent:
    """A latent site in formulas.

    Attributes:
        name: what the formulas call it.
        kind: ``"normal"`` or ``"bernoulli"``.
        shape: over all data.
        parameter: the guide's location or logit, from earlier values and the parameters.
    """

    name: str
    kind: Kind
    shape: tuple[int, ...]
    parameter: Callable[[Values, Tensor], Tensor]

    def log_prior(self, values: Values) -> Tensor:
        """Return log p of ``draw`` without a parameter."""
        zero = torch.zeros((), dtype=torch.float64)
        value = values[self.name]
        return log_normal(value, zero, 1.0) if self.kind == "normal" else log_bernoulli(value, zero + PRIOR_LOGIT)

    def log_guide(self, values: Values, t: Tensor) -> Tensor:
        """Return log q."""
        value, parameter = values[self.name], self.parameter(values, t)
        return log_normal(value, parameter, t[-1].exp()) if self.kind == "normal" else log_bernoulli(value, parameter)

    def kl(self, values: Values, t: Tensor) -> Tensor:
        """Return log p - log q, by element."""
        return self.log_prior(values) - self.log_guide(values, t)


@final
@dataclass(frozen=True)
class Truth:
    """The loss and its gradient by ``theta``."""

    loss: Tensor
    gradient: Tensor


@final
@dataclass(frozen=True, eq=False)
class Problem:
    """A model and a guide of one vector of parameters, and the same in formulas.

    Attributes:
        name: for messages.
        model, guide: programs without arguments; their parameter is ``theta``, their dtype float64.
        latents: in the order of drawing, over all data.
        log_weight: log p - log q, scaled and masked: a scalar, or one element per datum where all sites are in a plate.
        requires: capabilities without which an estimator must refuse the guide.
        per_datum: whether all sites are in one plate.
        rule: the gradient rule that a site asks for.
    """

    name: str
    model: Callable[[], Any]
    guide: Callable[[], Any]
    latents: tuple[Latent, ...]
    log_weight: Callable[[Values, Tensor], Tensor]
    requires: frozenset[str] = frozenset()
    per_datum: bool = False
    rule: str = "pathwise"

    def truth(self, bound: str = "elbo", particles: int = 1, alpha: float = 0.0) -> Truth:
        """Return the loss of a bound and its gradient, summed over all values of all draws."""
        return enumerated_truth(self, bound, 1 if bound == "elbo" else particles, alpha)

    def loss(self, t: Tensor, bound: str = "elbo", particles: int = 1, alpha: float = 0.0) -> Tensor:
        """Return the loss at given parameters, differentiable."""
        log_probability, log_weight = [], []
        for raw, weight in self._draws():
            values: Values = {}
            log_q = torch.zeros((), dtype=torch.float64) + math.log(weight)
            for latent in self.latents:
                found = latent.parameter(values, t)
                if latent.kind == "normal":
                    values[latent.name] = found + t[-1].exp() * raw[latent.name]
                else:
                    values[latent.name] = raw[latent.name]
                    log_q = log_q + log_bernoulli(raw[latent.name], found).sum()
            log_probability.append(log_q)
            log_weight.append(self.log_weight(values, t))
        probability, weights = torch.stack(log_probability), torch.stack(log_weight)
        index = torch.cartesian_prod(*[torch.arange(len(weights))] * particles).reshape(-1, particles)
        values_of_bound = reduce_particles(weights[index].movedim(1, 0), bound, alpha)
        return -(probability[index].sum(1).exp() * values_of_bound.reshape(len(index), -1).sum(1)).sum()

    def _draws(self) -> list[tuple[Values, float]]:
        tables: list[Mapping[float, float]] = []
        for latent in self.latents:
            tables += [NODES if latent.kind == "normal" else BITS] * math.prod(latent.shape)
        found = []
        for flat in itertools.product(*tables):
            position, raw = 0, {}
            for latent in self.latents:
                size = math.prod(latent.shape)
                part = flat[position : position + size]
                raw[latent.name] = torch.tensor(part, dtype=torch.float64).reshape(latent.shape)
                position += size
            found.append((raw, math.prod(table[item] for table, item in zip(tables, flat, strict=True))))
        return found


@cache
def enumerated_truth(problem: Problem, bound: str, particles: int, alpha: float) -> Truth:
    """Return a problem's truth; kept, since every estimator is compared with it."""
    t = torch.tensor(START, dtype=torch.float64, requires_grad=True)
    loss = problem.loss(t, bound, particles, alpha)
    return Truth(loss.detach(), torch.autograd.grad(loss, t)[0])
