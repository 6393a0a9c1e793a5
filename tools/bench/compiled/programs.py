"""The programs that the compiled steps are timed on, each stated once for all libraries."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from bench.compiled.languages import Language

__all__ = ["PROGRAMS", "Training"]

EFFECTS = (28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0)
ERRORS = (15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0)
BATCHES = 10


@dataclass(frozen=True)
class Training:
    """A model and a guide that take the arguments of a batch, and how they are trained.

    Attributes:
        batches: arguments of consecutive steps, again and again; one batch for the same arguments in every step.
        run_length: how many steps one run takes.
        particles: of the importance weighted bound, drawn as one tensor dim; one for the evidence lower bound.
        sums_out: whether discrete sites are summed out; they lie in one plate at most.
    """

    model: Callable[..., None]
    guide: Callable[..., None]
    batches: tuple[tuple[Any, ...], ...] = ((),)
    lr: float = 0.01
    run_length: int = 1000
    particles: int = 1
    sums_out: bool = False


@dataclass(frozen=True)
class Program:
    """A row of the table: its title, whether it counts as small in the marks, and the program in a language."""

    title: str
    is_small: bool
    of: Callable[[Language], Training]


def _weighing(of: Language) -> Training:
    guess, measured = of.array(8.5), of.array(9.5)

    def model() -> None:
        weight = of.sample("weight", of.dist.Normal(guess, 1.0))
        of.sample("measurement", of.dist.Normal(weight, 0.75), obs=measured)

    def guide() -> None:
        loc = of.param("loc", guess)
        scale = of.param("scale", of.array(1.0), constraint=of.positive)
        of.sample("weight", of.dist.Normal(loc, scale))

    return Training(model, guide, lr=0.003)


def _eight_schools(of: Language) -> Training:
    effects, errors = of.array(np.array(EFFECTS)), of.array(np.array(ERRORS))

    def model() -> None:
        mu = of.sample("mu", of.dist.Normal(0.0, 5.0))
        tau = of.sample("tau", of.dist.HalfCauchy(5.0))
        with of.plate("schools", 8):
            eta = of.sample("eta", of.dist.Normal(0.0, 1.0))
            of.sample("effect", of.dist.Normal(mu + tau * eta, errors), obs=effects)

    def guide() -> None:
        locs = [of.param(f"{name}_loc", of.array(np.zeros(shape))) for name, shape in SCHOOLS]
        scales = [
            of.param(f"{name}_scale", of.array(np.ones(shape)), constraint=of.positive) for name, shape in SCHOOLS
        ]
        of.sample("mu", of.dist.Normal(locs[0], scales[0]))
        of.sample("tau", of.dist.LogNormal(locs[1], scales[1]))
        with of.plate("schools", 8):
            of.sample("eta", of.dist.Normal(locs[2], scales[2]))

    return Training(model, guide)


SCHOOLS: tuple[tuple[str, tuple[int, ...]], ...] = (("mu", ()), ("tau", ()), ("eta", (8,)))


def _logistic_regression(of: Language, size: int, columns: int, batch: int) -> Training:
    """The rows of a batch stand for all ``size`` of them."""
    source = np.random.default_rng(20)
    rows = source.normal(size=(size, columns))
    chances = 1.0 / (1.0 + np.exp(0.5 - rows @ source.normal(size=columns)))
    labels = (source.random(size) < chances).astype(float)
    starts = [batch * at for at in range(1 if batch == size else BATCHES)]
    batches = tuple((of.array(rows[at : at + batch]), of.array(labels[at : at + batch])) for at in starts)

    def model(rows: Any, labels: Any) -> None:  # noqa: ANN401  # arrays
        weights = of.sample("weights", of.dist.Normal(of.array(np.zeros(columns)), 1.0).to_event(1))
        intercept = of.sample("intercept", of.dist.Normal(0.0, 1.0))
        with of.scale(scale=size / batch), of.plate("rows", batch):
            of.sample("label", of.dist.Bernoulli(logits=rows @ weights + intercept), obs=labels)

    def guide(rows: Any, labels: Any) -> None:  # noqa: ANN401  # arrays
        weights_loc = of.param("weights_loc", of.array(np.zeros(columns)))
        weights_scale = of.param("weights_scale", of.array(np.full(columns, 0.1)), constraint=of.positive)
        intercept_loc = of.param("intercept_loc", of.array(0.0))
        intercept_scale = of.param("intercept_scale", of.array(0.1), constraint=of.positive)
        of.sample("weights", of.dist.Normal(weights_loc, weights_scale).to_event(1))
        of.sample("intercept", of.dist.Normal(intercept_loc, intercept_scale))

    return Training(model, guide, batches, run_length=1000 if batch == size else 100)


PIXELS, HIDDEN, CODE, PICTURES = 64, 200, 20, 256


def _autoencoder(of: Language, particles: int) -> Training:
    """Digits of eight by eight pixels, black or white; networks of one hidden layer, their weights parameters."""
    from sklearn.datasets import load_digits

    pictures = (load_digits().data > 7.0).astype(float)
    batches = tuple((of.array(pictures[at : at + PICTURES]),) for at in range(0, 6 * PICTURES, PICTURES))
    source = np.random.default_rng(16)
    sizes = {"decoder": (CODE, HIDDEN, PIXELS), "encoder": (PIXELS, HIDDEN, 2 * CODE)}
    first = {
        f"{network}_{layer}": of.array(source.normal(size=shape) / math.sqrt(shape[0]))
        for network, (given, hidden, made) in sizes.items()
        for layer, shape in (("in", (given, hidden)), ("out", (hidden, made)))
    }

    def network(name: str, value: Any) -> Any:  # noqa: ANN401  # arrays
        layers = [
            (of.param(f"{name}_{each}", first[f"{name}_{each}"]), f"{name}_{each}_bias") for each in ("in", "out")
        ]
        for weight, bias in layers[:1]:
            value = of.math.tanh(value @ weight + of.param(bias, of.array(np.zeros(weight.shape[-1]))))
        weight, bias = layers[1]
        return value @ weight + of.param(bias, of.array(np.zeros(weight.shape[-1])))

    def model(pictures: Any) -> None:  # noqa: ANN401  # an array
        with of.plate("pictures", PICTURES):
            code = of.sample("code", of.dist.Normal(of.array(np.zeros(CODE)), 1.0).to_event(1))
            of.sample("picture", of.dist.Bernoulli(logits=network("decoder", code)).to_event(1), obs=pictures)

    def guide(pictures: Any) -> None:  # noqa: ANN401  # an array
        found = network("encoder", pictures)
        with of.plate("pictures", PICTURES):
            of.sample("code", of.dist.Normal(found[:, :CODE], of.math.exp(found[:, CODE:])).to_event(1))

    return Training(model, guide, batches, lr=0.001, run_length=20 if particles == 1 else 5, particles=particles)


def _gaussian_mixture(of: Language, points: int, clusters: int) -> Training:
    """The parameters are points, the clusters are summed out."""
    source = np.random.default_rng(8)
    centers = np.linspace(-8.0, 8.0, clusters)
    observed = of.array(centers[source.integers(clusters, size=points)] + source.normal(size=points))
    shares, begin = of.array(np.full(clusters, 1.0 / clusters)), of.array(centers + 0.5)

    def model() -> None:
        weights = of.param("weights", shares, constraint=of.simplex)
        locs = of.param("locs", begin)
        scale = of.param("scale", of.array(1.5), constraint=of.positive)
        with of.plate("points", points):
            cluster = of.sample("cluster", of.dist.Categorical(weights), infer={"enumerate": "parallel"})
            of.sample("point", of.dist.Normal(locs[cluster], scale), obs=observed)

    return Training(model, _no_sites, sums_out=True)


def _hidden_markov(of: Language, steps: int, states: int, sequences: int) -> Training:
    """Every chain begins as after the first state.

    NumPyro takes it as a loop: its ``TraceEnum_ELBO`` takes the steps of its ``scan`` for a plate, whose log-densities
    it adds up before it sums the states out, so that the loss is another one (14,955 where the chains' is 1,968).
    """
    source = np.random.default_rng(steps)
    observed = of.array(3.0 * source.normal(size=(steps, sequences)))
    odds = np.exp(source.random((states, states)) + 3.0 * np.eye(states))
    first, places = of.array(odds / odds.sum(-1, keepdims=True)), of.array(np.linspace(-4.0, 4.0, states))

    def model() -> None:
        transition = of.param("transition", first, constraint=of.simplex)
        locs = of.param("locs", places)
        with of.plate("sequences", sequences):
            state: Any = 0
            for step in of.markov(range(steps)):
                law = of.dist.Categorical(transition[state])
                state = of.sample(f"state_{step}", law, infer={"enumerate": "parallel"})
                of.sample(f"observed_{step}", of.dist.Normal(locs[state], 1.0), obs=observed[step])

    return Training(model, _no_sites, run_length=100, sums_out=True)


def _no_sites() -> None:
    """A guide that leaves all sites to the model."""


PROGRAMS: Mapping[str, Program] = {
    "weighing": Program("weighing", True, _weighing),
    "eight_schools": Program("eight schools", True, _eight_schools),
    "logistic_regression": Program(
        "logistic regression 1000 x 20", True, lambda of: _logistic_regression(of, 1000, 20, 1000)
    ),
    "mini_batches": Program(
        "logistic regression 50,000 x 100, batches of 1000",
        False,
        lambda of: _logistic_regression(of, 50_000, 100, 1000),
    ),
    "autoencoder": Program("VAE 64-200-20, batch 256", False, lambda of: _autoencoder(of, 1)),
    "importance_weighted": Program("IWAE 64-200-20, batch 256, K = 16", False, lambda of: _autoencoder(of, 16)),
    "gaussian_mixture": Program(
        "mixture of 8 Gaussians, 1000 points, summed out", False, lambda of: _gaussian_mixture(of, 1000, 8)
    ),
    "hidden_markov": Program(
        "hidden Markov model T = 20, K = 8, batch 32, summed out", False, lambda of: _hidden_markov(of, 20, 8, 32)
    ),
}
