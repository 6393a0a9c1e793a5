"""Every kind of baseline, put on the score-function sites of any program."""

from __future__ import annotations

from dataclasses import replace

import torch

import aleator
from aleator.handlers import Messenger
from exact_expectation import D


class Network(torch.nn.Module):
    """A baseline network with fixed weights: one value per element."""

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(D(0.7))
        self.bias = torch.nn.Parameter(D(-1.3))

    def forward(self, value):
        return torch.tanh(self.weight * value) + self.bias


KINDS = ("decaying", "value", "number", "network", "decaying+network", "decaying+value")


def options(kind, shape):
    """The options of one site whose plates give it this shape."""
    found = {}
    if "decaying" in kind:
        found["use_decaying_avg_baseline"] = True
    if "value" in kind:
        found["baseline_value"] = torch.linspace(-1.0, 2.0, max(shape.numel(), 1), dtype=torch.float64).reshape(shape)
    if "number" in kind:
        found["baseline_value"] = -1.5
    if "network" in kind:
        found |= {"nn_baseline": Network().forward, "nn_baseline_input": torch.full(shape, 0.3, dtype=torch.float64)}
    return found


class Baselined(Messenger):
    """Puts a baseline on each site of the guide that has a score."""

    def __init__(self, kind):
        self.kind = kind

    def process_sample(self, site):
        is_score = not site.fn.has_rsample or site.infer.get("gradient") == "score"
        if site.is_observed or not is_score:
            return
        sizes = {frame.dim: frame.size for frame in site.frames if frame.dim is not None}
        sizes = {dim: size for dim, size in sizes.items() if not _is_particles(site, dim)}
        shape = torch.Size(sizes.get(dim, 1) for dim in range(min(sizes, default=0), 0))
        site.infer = {**site.infer, "baseline": options(self.kind, shape)}


def _is_particles(site, dim):
    return any(frame.dim == dim and frame.name == "num_particles_vectorized" for frame in site.frames)


def with_baseline(case, kind):
    """The case with a baseline on each score-function site of its guide."""

    def guide(theta):
        with Baselined(kind):
            return case.guide(theta)

    return replace(case, guide=guide)


def fill_averages(case, value=1.7):
    """Put an average into the current store for each site of a case: a single number fits every plate."""
    buffers = aleator.get_param_store().buffers
    for name, (_, shape, _) in case.latents.items():
        names = [f"{name}_{turn}" for turn in range(shape[0])] if name in case.by_turn else [name]
        for site in names:
            buffers[f"baseline/{site}"] = D(value)
