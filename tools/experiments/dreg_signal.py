"""The signal-to-noise ratio of a guide's gradient under an importance weighted bound, as particles are added.

    python tools/experiments/dreg_signal.py [--figure docs/figures/dreg-signal.svg]

The model of Rainforth et al. (2018): z ~ N(mu, I), x | z ~ N(z, I), 20 dims; guide N(A x + b, 2/3 I), its parameters
near the optimum. Prints a table; draws a figure where matplotlib is there.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from torch import Tensor

import aleator
import aleator.distributions as dist
from aleator.infer import IWAE

DIMS, DRAWS = 20, 4000
PARTICLES = (1, 4, 16, 64, 256)
RULES = ("pathwise", "stl", "dreg")


def main() -> None:
    """Print the table, and draw the figure where asked."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--figure", type=Path)
    options = parser.parse_args()
    ratios = {rule: [signal_to_noise(rule, count) for count in PARTICLES] for rule in RULES}
    print("| rule | " + " | ".join(f"K = {count}" for count in PARTICLES) + " |\n|---|" + "---:|" * len(PARTICLES))
    for rule, found in ratios.items():
        print(f"| `{rule}` | " + " | ".join(f"{value:.3g}" for value in found) + " |")
    if options.figure:
        draw(ratios, options.figure)


def signal_to_noise(rule: str, particles: int) -> float:
    """Mean over standard deviation of the gradient for the guide's offset, averaged over its elements."""
    source = torch.Generator().manual_seed(0)
    data = torch.randn(DIMS, generator=source, dtype=torch.float64) * 2**0.5
    offset = 0.5 * data + 0.1 * torch.randn(DIMS, generator=source, dtype=torch.float64)

    def model(offset: Tensor) -> None:  # the guide's argument
        with aleator.plate("draws", DRAWS):
            z = aleator.sample("z", dist.Normal(torch.zeros(DIMS, dtype=torch.float64), 1.0).to_event(1))
            aleator.sample("x", dist.Normal(z, 1.0).to_event(1), obs=data)

    def guide(offset: Tensor) -> None:
        with aleator.plate("draws", DRAWS):
            fn = dist.Normal(offset, torch.tensor((2 / 3) ** 0.5, dtype=torch.float64)).to_event(1)
            aleator.sample("z", fn, infer={"gradient": rule})

    # The plate of draws is around every site: each of its elements is one estimate, with a gradient of its own.
    offsets = offset.expand(DRAWS, DIMS).clone().requires_grad_()
    estimator = IWAE(num_particles=particles, max_plate_nesting=1, vectorize_particles=True)
    with aleator.rng(particles):
        surrogate = estimator.estimate(model, guide, offsets).surrogate
    (gradients,) = torch.autograd.grad(surrogate, offsets)
    return (gradients.mean(0).abs() / gradients.std(0)).mean().item()


def draw(ratios: dict[str, list[float]], path: Path) -> None:
    """One line per rule, both axes logarithmic."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(5, 3.2), layout="constrained")
    for rule, found in ratios.items():
        axes.loglog(PARTICLES, found, marker="o", label=rule)
    axes.set(xlabel="particles", ylabel="signal-to-noise ratio", title="Gradient of the guide's offset")
    axes.legend()
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
