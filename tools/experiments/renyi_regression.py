"""A small Bayesian network on the diabetes data under Renyi bounds of several orders: a table of docs/renyi.md.

    python tools/experiments/renyi_regression.py

Needs scikit-learn for the data. Inputs and target are standardised, a tenth is held out, seeds are fixed.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from sklearn.datasets import load_diabetes
from torch import Tensor

import aleator
import aleator.distributions as dist
from aleator import handlers
from aleator.distributions import constraints
from aleator.infer import SVI, RenyiELBO, Trace_ELBO
from aleator.optim import Adam

HIDDEN, PARTICLES, STEPS, SPLITS, PREDICTIONS = 50, 10, 2000, 5, 500
ORDERS = (-math.inf, 0.0, 0.5, 1.0)


def main() -> None:
    """Print the table."""
    print("| order | bound, train | RMSE, test | log likelihood, test |\n|---|---:|---:|---:|")
    for alpha in ORDERS:
        rows = torch.tensor([regress(alpha, split) for split in range(SPLITS)], dtype=torch.float64)
        mean, error = rows.mean(0), rows.std(0) / math.sqrt(SPLITS)
        cells = " | ".join(f"{m:.2f} ± {e:.2f}" for m, e in zip(mean.tolist(), error.tolist(), strict=True))
        print(f"| {'1 (`Trace_ELBO`)' if alpha == 1.0 else f'{alpha:g}'} | {cells} |", flush=True)


def regress(alpha: float, split: int) -> tuple[float, float, float]:
    """Train on one split; the bound at the end, and what is predicted for the part held out."""
    inputs, target = (torch.tensor(values, dtype=torch.float32) for values in load_diabetes(return_X_y=True))
    order = torch.randperm(len(target), generator=torch.Generator().manual_seed(split))
    train, test = order[: int(0.9 * len(order))], order[int(0.9 * len(order)) :]
    inputs = (inputs - inputs[train].mean(0)) / inputs[train].std(0)
    center, spread = target[train].mean(), target[train].std()
    scaled = (target - center) / spread
    with aleator.ParamStore():
        svi = SVI(model, guide, Adam({"lr": 0.01}), estimator_of(alpha), num_steps=STEPS, num_samples=0, rng=split)
        svi.progress = False
        svi.run(inputs[train], scaled[train])
        with torch.no_grad(), aleator.rng(split):
            predictions = [predict(inputs[test]) for _ in range(PREDICTIONS)]
    predicted = torch.stack([fn.mean for fn in predictions]).mean(0) * spread + center
    log_likelihood = torch.stack([fn.log_prob(scaled[test]) for fn in predictions]).logsumexp(0)
    return (
        -sum(svi.losses[-100:]) / 100,
        (predicted - target[test]).square().mean().sqrt().item(),
        (log_likelihood - math.log(PREDICTIONS) - spread.log()).mean().item(),
    )


def estimator_of(alpha: float) -> Trace_ELBO | RenyiELBO:
    """Order 1 is the evidence lower bound."""
    options: dict[str, Any] = {"num_particles": PARTICLES, "max_plate_nesting": 1, "vectorize_particles": True}
    return Trace_ELBO(**options) if alpha == 1.0 else RenyiELBO(alpha, **options)


def predict(inputs: Tensor) -> Any:  # noqa: ANN401  # the distribution of the targets
    """The targets' distribution under one draw of the weights."""
    draw = handlers.trace(guide).get_trace(inputs, None)
    return handlers.trace(handlers.replay(model, trace=draw)).get_trace(inputs, None).nodes["y"].fn


def model(inputs: Tensor, target: Tensor | None) -> None:
    """One hidden layer; standard normal weights, scaled by the square root of their number; Gaussian noise."""
    width = inputs.shape[-1]
    hidden = aleator.sample("hidden", dist.Normal(torch.zeros(width + 1, HIDDEN), 1.0).to_event(2))
    output = aleator.sample("output", dist.Normal(torch.zeros(HIDDEN + 1), 1.0).to_event(1))
    precision = aleator.sample("precision", dist.Gamma(6.0, 6.0))
    active = torch.relu((inputs @ hidden[..., :-1, :] + hidden[..., -1:, :]) / math.sqrt(width + 1))
    mean = (active @ output[..., :-1, None]).squeeze(-1) / math.sqrt(HIDDEN + 1) + output[..., -1:]
    if mean.dim() > 1:  # particles stand left of the plate, where each has a dim of size 1 for it
        mean = mean.squeeze(-2)
    with aleator.plate("data", len(inputs)):
        aleator.sample("y", dist.Normal(mean, precision.rsqrt()), obs=target)


def guide(inputs: Tensor, target: Tensor | None) -> None:  # the model's arguments
    """Independent normals for the weights, log-normal for the precision."""
    start = torch.Generator().manual_seed(0)
    for name, shape in {"hidden": (inputs.shape[-1] + 1, HIDDEN), "output": (HIDDEN + 1,)}.items():
        loc = aleator.param(f"{name}_loc", 0.5 * torch.randn(shape, generator=start))
        scale = aleator.param(f"{name}_scale", torch.full(shape, 0.1), constraint=constraints.positive)
        aleator.sample(name, dist.Normal(loc, scale).to_event(len(shape)))
    loc = aleator.param("precision_loc", torch.tensor(0.0))
    scale = aleator.param("precision_scale", torch.tensor(0.1), constraint=constraints.positive)
    aleator.sample("precision", dist.LogNormal(loc, scale))


if __name__ == "__main__":
    main()
