"""Prints the variance of score-function gradients on a chain of bits, exactly: summed over all draws of the guide.

    python tools/gradient_variance.py [--length 10] [--steps 400]

The model is a chain of hidden bits with an observation each, the guide has one logit per bit. A baseline that learns is
trained for some steps with the guide held still; then every draw is forced in turn and weighted by its probability, so
the table has no noise of its own, but for what training left in the baselines.
"""

from __future__ import annotations

import argparse
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any, final

import torch
from torch import Tensor, nn

import aleator
import aleator.distributions as dist
from aleator.handlers import Messenger
from aleator.infer import SVI, AbstractEstimator, Trace_ELBO, TraceGraph_ELBO
from aleator.optim import Adam

OBSERVED = (1.2, 0.7, -0.9, -1.4, 0.3, 1.1, 1.6, -0.2, -1.0, 0.8)
Options = Callable[[int, Any], Mapping[str, object] | None]


@final
class Forced(Messenger):
    """Gives the guide's sites one combination of bits; the model takes them over."""

    def __init__(self, bits: Mapping[str, Tensor]) -> None:
        self._bits = bits

    def process_sample(self, site: Any) -> None:  # noqa: ANN401  # aleator's sites
        """Set the value."""
        if site.value is None and site.name in self._bits:
            site.value = self._bits[site.name]


@final
class Chain:
    """The programs over so many bits; ``options`` gives the baseline of a site, from its place and the bit before."""

    def __init__(self, length: int, options: Options) -> None:
        self.length = length
        self.options = options
        self.network = Values(length)

    def model(self) -> None:
        """A chain that tends to stay where it is, seen through noise."""
        z: Any = 0.5
        for t in range(self.length):
            z = aleator.sample(f"z_{t}", dist.Bernoulli(logits=torch.as_tensor(4.0 * z - 2.0)))
            aleator.sample(f"x_{t}", dist.Normal(2.0 * z - 1.0, 1.0), obs=torch.tensor(OBSERVED[t % 10]))

    def guide(self) -> None:
        """Bits apart from each other."""
        logits = aleator.param("logits", torch.linspace(-1.0, 1.0, self.length))
        aleator.module("network", self.network)
        z: Any = torch.tensor(0.5)
        for t in range(self.length):
            infer = {"baseline": self.options(t, z)}
            z = aleator.sample(f"z_{t}", dist.Bernoulli(logits=logits[t]), infer=infer)


@final
class Values(nn.Module):
    """A baseline for each site, linear in the bit before it."""

    def __init__(self, length: int) -> None:
        super().__init__()
        self.offset = nn.Parameter(torch.zeros(length))
        self.slope = nn.Parameter(torch.zeros(length))

    def at(self, t: int) -> Callable[[Tensor], Tensor]:
        """The baseline of one site."""
        return lambda z: self.offset[t] + self.slope[t] * z


def gradients(chain: Chain, estimator: AbstractEstimator) -> Iterator[tuple[float, Tensor]]:
    """Yield probability and gradient of each draw."""
    leaf = aleator.get_param_store().unconstrained("logits")
    probabilities = torch.sigmoid(leaf.detach())
    for bits in itertools.product((0.0, 1.0), repeat=chain.length):
        values = torch.tensor(bits)
        with Forced({f"z_{t}": values[t] for t in range(chain.length)}):
            surrogate = estimator.estimate(chain.model, chain.guide).surrogate
        weight = float(torch.where(values > 0, probabilities, 1.0 - probabilities).prod())
        yield weight, torch.autograd.grad(surrogate, leaf)[0].double()


def moments(chain: Chain, estimator: AbstractEstimator) -> tuple[Tensor, Tensor]:
    """Mean and variance of the gradient, by logit."""
    mean = square = torch.zeros(chain.length, dtype=torch.float64)
    for weight, gradient in gradients(chain, estimator):
        mean, square = mean + weight * gradient, square + weight * gradient**2
    return mean, square - mean**2


def train(chain: Chain, steps: int) -> None:
    """Train what learns in the baselines; the guide stays."""
    optim = Adam(lambda name: {"lr": 0.0 if name == "logits" else 0.05})
    svi = SVI(chain.model, chain.guide, optim, TraceGraph_ELBO(), rng=0)
    for _ in range(steps):
        svi.step()


def optimal_constants(length: int) -> list[float]:
    """E[score^2 cost] / E[score^2] for each bit."""
    chain = Chain(length, lambda t, z: None)
    chain.guide()
    scores = torch.sigmoid(aleator.get_param_store().unconstrained("logits").detach()).double()
    top = bottom = torch.zeros(length, dtype=torch.float64)
    for (weight, gradient), bits in zip(
        gradients(chain, TraceGraph_ELBO()), itertools.product((0.0, 1.0), repeat=length), strict=True
    ):
        score = torch.tensor(bits, dtype=torch.float64) - scores
        # The gradient is that of the loss: minus score times cost.
        top, bottom = top - weight * score * gradient, bottom + weight * score**2
    return [float(value) for value in top / bottom]


def table(length: int, steps: int) -> Iterator[tuple[str, Tensor, Tensor]]:
    """Yield the rows: a name, the gradient's mean and its variance."""
    with aleator.ParamStore():
        constants = optimal_constants(length)
    rows: list[tuple[str, Options, AbstractEstimator, int]] = [
        ("Trace_ELBO", lambda t, z: None, Trace_ELBO(), 0),
        ("TraceGraph_ELBO", lambda t, z: None, TraceGraph_ELBO(), 0),
        ("decaying average", lambda t, z: {"use_decaying_avg_baseline": True}, TraceGraph_ELBO(), steps),
        ("optimal constant", lambda t, z: {"baseline_value": constants[t]}, TraceGraph_ELBO(), 0),
    ]
    for name, options, estimator, count in rows:
        yield name, *_row(Chain(length, options), estimator, count)
    chain = Chain(length, lambda t, z: {"nn_baseline": chain.network.at(t), "nn_baseline_input": z})
    yield "nn_baseline", *_row(chain, TraceGraph_ELBO(), steps)


def _row(chain: Chain, estimator: AbstractEstimator, steps: int) -> tuple[Tensor, Tensor]:
    with aleator.ParamStore():
        chain.guide()
        train(chain, steps)
        return moments(chain, estimator)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--length", type=int, default=10, help="how many bits")
    parser.add_argument("--steps", type=int, default=400, help="how long baselines are trained")
    options = parser.parse_args()
    print("| estimator | variance, summed over the logits | of Trace_ELBO's |")
    print("|---|---:|---:|")
    first: float | None = None
    for name, _, variance in table(options.length, options.steps):
        total = float(variance.sum())
        first = total if first is None else first
        print(f"| {name} | {total:.3f} | {total / first:.4f} |", flush=True)


if __name__ == "__main__":
    main()
