"""Importance weighted autoencoders on binary digits, trained with 1, 5 and 50 particles: the table of docs/renyi.md.

    python tools/experiments/iwae_digits.py

Needs scikit-learn for the data. 1500 pictures train, 297 are held out; 64-200-20; seeds are fixed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

import aleator
import aleator.distributions as dist
from aleator import handlers
from aleator.infer import IWAE, SVI
from aleator.optim import Adam

PIXELS, HIDDEN, CODE, BATCH, EPOCHS, LARGEST = 64, 200, 20, 256, 150, 1000


def main() -> None:
    """Print the table: every model's bound on held-out pictures, at several numbers of particles."""
    train, test = digits()
    print("| trained with | rule | K = 1 | K = 5 | K = 50 | K = 1000 |\n|---|---|---:|---:|---:|---:|")
    for particles in (1, 5, 50):
        for rule in ("pathwise", "dreg"):
            programs = Autoencoder(rule)
            with aleator.ParamStore(), aleator.rng(particles):
                estimator = IWAE(num_particles=particles, max_plate_nesting=1, vectorize_particles=True)
                svi = SVI(programs.model, programs.guide, Adam({"lr": 1e-3}), estimator, progress=False)
                for _ in range(EPOCHS):
                    for batch in batches(train):
                        svi.step(batch)
                weights = log_weights(programs, test)
            cells = " | ".join(f"{bound(weights, count):.2f}" for count in (1, 5, 50, LARGEST))
            print(f"| K = {particles} | `{rule}` | {cells} |", flush=True)


def digits() -> tuple[Tensor, Tensor]:
    """Black and white pictures, the same split each time."""
    pictures = (torch.tensor(load_digits().data, dtype=torch.float32) > 7.5).float()
    order = torch.randperm(len(pictures), generator=torch.Generator().manual_seed(0))
    return pictures[order[:1500]], pictures[order[1500:]]


def batches(pictures: Tensor) -> Iterator[Tensor]:
    """Every picture once, in a new order."""
    order = torch.randperm(len(pictures), generator=SHUFFLING)
    for start in range(0, len(order), BATCH):
        yield pictures[order[start : start + BATCH]]


SHUFFLING = torch.Generator().manual_seed(1)


class Autoencoder:
    """The model and the guide, with layers of their own."""

    def __init__(self, rule: str) -> None:
        with torch.random.fork_rng():
            torch.random.default_generator.manual_seed(2)
            self.decoder = nn.Sequential(nn.Linear(CODE, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, PIXELS))
            self.encoder = nn.Sequential(nn.Linear(PIXELS, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, 2 * CODE))
        self.rule = rule

    def model(self, pictures: Tensor) -> None:
        """A standard normal code, and pixels."""
        decoder = aleator.module("decoder", self.decoder)
        with aleator.plate("pictures", len(pictures)):
            code = aleator.sample("code", dist.Normal(torch.zeros(CODE), 1.0).to_event(1))
            aleator.sample("picture", dist.Bernoulli(logits=decoder(code)).to_event(1), obs=pictures)

    def guide(self, pictures: Tensor) -> None:
        """A normal per picture."""
        encoder = aleator.module("encoder", self.encoder)
        loc, log_scale = encoder(pictures).chunk(2, -1)
        with aleator.plate("pictures", len(pictures)):
            fn = dist.Normal(loc, log_scale.exp()).to_event(1)
            aleator.sample("code", fn, infer={"gradient": self.rule})


def log_weights(programs: Autoencoder, pictures: Tensor) -> Tensor:
    """The log weight of every particle for every picture: particles by pictures."""
    found = []
    with torch.no_grad():
        for _ in range(LARGEST // 50):
            with aleator.plate("particles", 50, dim=-2):
                q = handlers.trace(programs.guide).get_trace(pictures)
            with aleator.plate("particles", 50, dim=-2):
                p = handlers.trace(handlers.replay(programs.model, trace=q)).get_trace(pictures)
            log_p = p.nodes["code"].fn.log_prob(q.nodes["code"].value) + p.nodes["picture"].fn.log_prob(pictures)
            found.append(log_p - q.nodes["code"].fn.log_prob(q.nodes["code"].value))
    return torch.cat(found)


def bound(weights: Tensor, particles: int) -> float:
    """The bound per picture with so many particles, averaged over all groups of that size."""
    groups = weights.reshape(-1, particles, weights.shape[-1])
    return (groups.logsumexp(1) - math.log(particles)).mean().item()


if __name__ == "__main__":
    main()
