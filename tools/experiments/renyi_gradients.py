"""Gradients of Renyi bounds at many draws against quadrature and enumeration: the table of docs/renyi.md.

    python tools/experiments/renyi_gradients.py

A normal site, a Bernoulli site, and both; two particles; 100,000 draws. Each row gives the largest of the z-scores of
the four parameters, and in the last column how far the expectation over all combinations of draws is from the truth.
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import torch
from torch import Tensor

import aleator
from aleator.infer import RenyiELBO

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "packages" / "aleator-renyi" / "tests"))

from bound_expectation import THETA, Programs, estimated_bound, true_bound  # found by the line above

ORDERS = (-math.inf, 0.0, 0.5, 2.0, math.inf)
KINDS = {
    "pathwise": Programs(True, False, {}),
    "pathwise, `stl`": Programs(True, False, {"z": "stl"}),
    "pathwise, `dreg`": Programs(True, False, {"z": "dreg"}),
    "score": Programs(False, True, {}),
    "score, `vimco`": Programs(False, True, {"b": "vimco"}),
    "mixed": Programs(True, True, {}),
}
DRAWS, PARTICLES, NODES = 100_000, 2, 200


def main() -> None:
    """Print the table."""
    print("| sites | order | largest z-score | largest distance of the exact expectation |\n|---|---:|---:|---:|")
    for kind, programs in KINDS.items():
        for alpha in ORDERS:
            if math.isinf(alpha) and "dreg" in kind:
                continue  # no second path through a largest element
            print(
                f"| {kind} | {alpha:g} | {z_score(programs, alpha):.2f} | {distance(programs, alpha):.1e} |", flush=True
            )


def reduction(alpha: float) -> object:
    """The bound of the weights, written plainly."""
    if math.isinf(alpha):
        return lambda weights: weights.max(0).values if alpha < 0 else weights.min(0).values
    return lambda weights: (torch.logsumexp((1 - alpha) * weights, 0) - math.log(len(weights))) / (1 - alpha)


def z_score(programs: Programs, alpha: float) -> float:
    """The mean over draws, less the truth, in standard errors: the largest of the parameters."""
    theta = torch.tensor(THETA, dtype=torch.float64).unsqueeze(-1).expand(4, DRAWS).clone().requires_grad_()
    with aleator.rng(1):
        estimate = RenyiELBO(alpha, PARTICLES, max_plate_nesting=1).estimate(programs.model, programs.guide, theta)
    (gradients,) = torch.autograd.grad(-estimate.surrogate, theta)
    error = gradients.std(-1) / math.sqrt(DRAWS)
    used = error > 0
    return ((gradients.mean(-1) - truth(programs, alpha)) / error)[used].abs().max().item()


def truth(programs: Programs, alpha: float) -> Tensor:
    """The gradient of the bound, by quadrature over the noise and enumeration of the bits."""
    return true_bound(programs, PARTICLES, NODES if programs.with_normal else 1, reduction(alpha))[1]


def distance(programs: Programs, alpha: float) -> float:
    """How far the estimator's expectation over all combinations is from the truth."""
    nodes = NODES if programs.with_normal else 1
    found = estimated_bound(programs, RenyiELBO(alpha, PARTICLES, max_plate_nesting=1), nodes)[1]
    return (found - truth(programs, alpha)).abs().max().item()


if __name__ == "__main__":
    main()
