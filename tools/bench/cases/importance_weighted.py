"""An importance weighted autoencoder of the digits' size: 64-200-20, a batch of 256, 16 particles as one tensor dim."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from bench.cases import training
from bench.contract import Case, Program

__all__ = ["CASE"]

PIXELS, HIDDEN, CODE, BATCH, PARTICLES = 64, 200, 20, 256, 16


def data() -> Tensor:
    """The same made-up pictures in every process, without touching the process's random numbers."""
    source = torch.Generator().manual_seed(16)
    shades = torch.rand(BATCH, PIXELS, generator=source)
    return (shades > 0.5).float()


class Layers(nn.Module):
    """One hidden layer, with the same weights in every process."""

    def __init__(self, width: int, *heads: int, seed: int) -> None:
        super().__init__()
        self.hidden = nn.Linear(width, HIDDEN)
        self.heads = nn.ModuleList(nn.Linear(HIDDEN, head) for head in heads)
        source = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for parameter in self.parameters():
                parameter.copy_(0.1 * torch.randn(parameter.shape, generator=source))

    def forward(self, value: Tensor) -> list[Tensor]:
        """The heads' outputs."""
        hidden = torch.tanh(self.hidden(value))
        return [head(hidden) for head in self.heads]


def networks() -> tuple[Layers, Layers]:
    """The decoder and the encoder."""
    return Layers(CODE, PIXELS, seed=1), Layers(PIXELS, CODE, CODE, seed=2)


def in_aleator(validate: bool) -> Program:
    """The model and guide in Aleator."""
    import aleator
    import aleator.distributions as dist
    from aleator.infer import IWAE

    pictures = data()
    decoder, encoder = networks()

    def model() -> None:
        aleator.module("decoder", decoder)
        with aleator.plate("pictures", BATCH):
            code = aleator.sample("code", dist.Normal(torch.zeros(CODE), 1.0).to_event(1))
            (logits,) = decoder(code)
            aleator.sample("picture", dist.Bernoulli(logits=logits).to_event(1), obs=pictures)

    def guide() -> None:
        aleator.module("encoder", encoder)
        loc, log_scale = encoder(pictures)
        with aleator.plate("pictures", BATCH):
            aleator.sample("code", dist.Normal(loc, log_scale.exp()).to_event(1))

    estimator = IWAE(num_particles=PARTICLES, max_plate_nesting=1, vectorize_particles=True)
    return training.in_aleator(model, guide, 0.001, validate, estimator)


def in_pyro(validate: bool) -> Program:
    """The model and guide in Pyro."""
    import pyro
    import pyro.distributions as dist
    from pyro.infer import RenyiELBO

    pictures = data()
    decoder, encoder = networks()

    def model() -> None:
        pyro.module("decoder", decoder)
        with pyro.plate("pictures", BATCH):
            code = pyro.sample("code", dist.Normal(torch.zeros(CODE), 1.0).to_event(1))
            (logits,) = decoder(code)
            pyro.sample("picture", dist.Bernoulli(logits=logits).to_event(1), obs=pictures)

    def guide() -> None:
        pyro.module("encoder", encoder)
        loc, log_scale = encoder(pictures)
        with pyro.plate("pictures", BATCH):
            pyro.sample("code", dist.Normal(loc, log_scale.exp()).to_event(1))

    estimator = RenyiELBO(alpha=0, num_particles=PARTICLES, max_plate_nesting=1, vectorize_particles=True)
    return training.in_pyro(model, guide, 0.001, validate, estimator)


def in_torch(_validate: bool) -> Program:
    """The step written out."""
    pictures = data()
    decoder, encoder = networks()
    return training.in_torch(
        _written_out(pictures, decoder, encoder), [*encoder.parameters(), *decoder.parameters()], 0.001
    )


def _written_out(pictures: Tensor, decoder: Layers, encoder: Layers) -> Callable[[], Tensor]:
    cross_entropy = nn.functional.binary_cross_entropy_with_logits

    def loss() -> Tensor:
        loc, log_scale = encoder(pictures)
        noise = torch.randn(PARTICLES, BATCH, CODE)
        code = loc + log_scale.exp() * noise
        (logits,) = decoder(code)
        log_p = -0.5 * code.square().sum(-1)
        log_p = log_p - cross_entropy(logits, pictures.expand_as(logits), reduction="none").sum(-1)
        log_q = -0.5 * noise.square().sum(-1) - log_scale.sum(-1)
        return -(torch.logsumexp(log_p - log_q, 0) - math.log(PARTICLES)).sum()

    return loss


CASE = Case(
    "importance_weighted",
    f"IWAE {PIXELS}-{HIDDEN}-{CODE}, batch {BATCH}, K = {PARTICLES}",
    {"aleator": in_aleator, "pyro": in_pyro, "torch": in_torch},
    mark=1.0,
)
