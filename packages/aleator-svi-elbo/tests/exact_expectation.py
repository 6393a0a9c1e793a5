"""Expectations without noise: every draw of a guide is forced in turn, and weighted by its probability.

Bernoulli sites run through all their values; normal sites through the nodes of a Gauss-Hermite rule that is exact for
the polynomials in these programs. The truth is summed over the same values from formulas written without the library.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from aleator.handlers import Messenger

D = partial(torch.tensor, dtype=torch.float64)

# The three-point rule for the standard normal: exact for polynomials up to degree 5.
NODES = {-math.sqrt(3.0): 1.0 / 6.0, 0.0: 2.0 / 3.0, math.sqrt(3.0): 1.0 / 6.0}
BITS = {0.0: 1.0, 1.0: 1.0}

Values = dict[str, Tensor]
Parameters = Callable[[Values, Tensor], Any]


def log_bernoulli(value: Tensor, logits: Tensor) -> Tensor:
    return value * logsigmoid(logits) + (1.0 - value) * logsigmoid(-logits)


def log_normal(value: Tensor, loc: Any, scale: Any) -> Tensor:
    scale = torch.as_tensor(scale, dtype=torch.float64)
    return -0.5 * ((value - loc) / scale) ** 2 - scale.log() - 0.5 * math.log(2.0 * math.pi)


@dataclass(frozen=True)
class Case:
    """A model and a guide with one vector of parameters, and the same in formulas.

    Attributes:
        latents: by name: ``"bernoulli"`` or ``"normal"``, the shape, and logits or (loc, scale) from earlier values.
        integrand: scaled and masked log p - log q, whose expectation is the objective.
        run_shapes: the shapes in one run, where a subsample makes them smaller.
        subsets: the subsamples to average over, and the plate's name.
        by_turn: latents whose elements are sites of their own in a run: ``z_0``, ``z_1``.
    """

    model: Callable[..., Any]
    guide: Callable[..., Any]
    theta: Sequence[float]
    latents: Mapping[str, tuple[str, tuple[int, ...], Parameters]]
    integrand: Callable[[Values, Tensor], Tensor]
    run_shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    subsets: tuple[tuple[str, tuple[int, ...]], ...] = ()
    by_turn: tuple[str, ...] = ()

    def parameters(self) -> Tensor:
        return D(list(self.theta)).requires_grad_()

    def shape(self, name: str) -> tuple[int, ...]:
        return self.run_shapes.get(name, self.latents[name][1])

    def by_site(self, raw: Values) -> Values:
        """The raw draws under the names of the sites of a run."""
        sites = {name: value for name, value in raw.items() if name not in self.by_turn}
        return sites | {f"{name}_{turn}": raw[name][turn] for name in self.by_turn for turn in range(len(raw[name]))}

    def draws(self, shapes: Mapping[str, tuple[int, ...]]) -> Iterator[tuple[Values, float]]:
        """Every combination of raw draws (bits, nodes), and the nodes' weight."""
        tables = {name: BITS if kind == "bernoulli" else NODES for name, (kind, _, _) in self.latents.items()}
        slots = [(name, math.prod(shapes[name])) for name in self.latents]
        for flat in itertools.product(*(tables[name] for name, count in slots for _ in range(count))):
            position, raw, weight = 0, {}, 1.0
            for name, count in slots:
                part = flat[position : position + count]
                position += count
                raw[name] = D(part).reshape(shapes[name])
                weight *= math.prod(tables[name][item] for item in part)
            yield raw, weight


def truth(case: Case, theta: Tensor) -> Tensor:
    """Minus the objective, differentiable, by the formulas alone."""
    total = torch.zeros((), dtype=torch.float64)
    for raw, weight in case.draws({name: shape for name, (_, shape, _) in case.latents.items()}):
        values: Values = {}
        log_q = torch.zeros((), dtype=torch.float64)
        for name, (kind, _, parameters) in case.latents.items():
            found = parameters(values, theta)
            if kind == "bernoulli":
                values[name] = raw[name]
                log_q = log_q + log_bernoulli(raw[name], found).sum()
            else:
                values[name] = found[0] + found[1] * raw[name]
        total = total + weight * log_q.exp() * case.integrand(values, theta)
    return -total


class Forced(Messenger):
    """Gives the guide's sites the values of one combination, and collects its probability."""

    def __init__(self, raws: Sequence[Values], stacked: bool, subset: tuple[str, tuple[int, ...]] | None) -> None:
        self._raws = list(raws)
        self._stacked = stacked
        self._subset = subset
        self._turn = dict.fromkeys(raws[0], 0)
        self._forced: set[int] = set()
        self.probability = 1.0

    def process_subsample(self, site: Any) -> None:
        if self._subset is not None and site.name == self._subset[0] and site.value is None:
            site.value = torch.tensor(self._subset[1])

    def process_sample(self, site: Any) -> None:
        if site.value is not None or site.name not in self._turn:
            return
        raw = self._next(site)
        fn = site.fn
        while hasattr(fn, "base_dist"):
            fn = fn.base_dist
        site.value = raw if not hasattr(fn, "loc") else fn.loc + fn.scale * raw
        if not self._stacked or any(frame.name == "num_particles_vectorized" for frame in site.frames):
            self._forced.add(id(site))

    def _next(self, site: Any) -> Tensor:
        name = site.name
        if not self._stacked:
            self._turn[name] += 1
            return self._raws[self._turn[name] - 1][name]
        dims = [frame.dim for frame in site.frames if frame.name == "num_particles_vectorized"]
        if not dims:  # the run that guesses the nesting
            return self._raws[0][name]
        width = -dims[0] - 1 + len(site.fn.event_shape)
        return torch.stack(
            [raw[name].reshape((1,) * (width - raw[name].dim()) + raw[name].shape) for raw in self._raws]
        )

    def postprocess_sample(self, site: Any) -> None:
        if id(site) not in self._forced:
            return
        self._forced.discard(id(site))
        fn = site.fn
        while hasattr(fn, "base_dist"):
            fn = fn.base_dist
        if not hasattr(fn, "loc"):
            self.probability *= float(fn.log_prob(site.value).detach().sum().exp())


def expected(case: Case, estimator: Any) -> tuple[Tensor, Tensor]:
    """Loss and gradient of an estimator, averaged over all draws, particles and subsamples."""
    theta = case.parameters()
    value, gradient = torch.zeros((), dtype=torch.float64), torch.zeros_like(theta)
    for weight, loss, grad in estimates(case, estimator, theta):
        value += weight * loss
        gradient += weight * grad
    return value, gradient


def moments(case: Case, estimator: Any) -> tuple[Tensor, Tensor]:
    """Mean and variance of an estimator's gradient, each over all draws, particles and subsamples."""
    theta = case.parameters()
    mean, square = torch.zeros_like(theta), torch.zeros_like(theta)
    for weight, _, grad in estimates(case, estimator, theta):
        mean += weight * grad
        square += weight * grad**2
    return mean, square - mean**2


def estimates(case: Case, estimator: Any, theta: Tensor) -> Iterator[tuple[float, Tensor, Tensor]]:
    """Yield probability, loss and gradient for every combination of draws."""
    shapes = {name: case.shape(name) for name in case.latents}
    particles = estimator.num_particles
    stacked = estimator.vectorize_particles and particles > 1
    subsets: Sequence[Any] = case.subsets or (None,)
    for subset in subsets:
        for combination in itertools.product(case.draws(shapes), repeat=particles):
            with Forced([case.by_site(raw) for raw, _ in combination], stacked, subset) as forced:
                estimate = estimator.estimate(case.model, case.guide, theta)
            weight = forced.probability * math.prod(weight for _, weight in combination) / len(subsets)
            yield weight, estimate.loss, torch.autograd.grad(estimate.surrogate, theta)[0]


def runs(case: Case, particles: int) -> int:
    """How many runs of the pair ``expected`` takes."""
    one = math.prod(
        (2 if kind == "bernoulli" else 3) ** math.prod(case.shape(name)) for name, (kind, _, _) in case.latents.items()
    )
    return int(max(1, len(case.subsets)) * one**particles * particles)
