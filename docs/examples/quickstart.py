"""The quickstart: an unreliable scale, then eight schools, each against what is known.

Run by ``nox -s quickstart``; writes ``quickstart.png`` and ``eight_schools.png`` into the folder given as the first
argument (by default the current one).
"""

from __future__ import annotations

import math
import sys
from pathlib import Path

import matplotlib
import torch

import aleator
import aleator.distributions as dist
from aleator.distributions import constraints
from aleator.infer import SVI, Trace_ELBO
from aleator.optim import Adam

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # the backend is chosen first

GUESS, MEASURED = torch.tensor(8.5), torch.tensor(9.5)


# [weighing]
def scale(guess):
    """Weigh something of about the guessed weight on an unreliable scale."""
    weight = aleator.sample("weight", dist.Normal(guess, 1.0))
    return aleator.sample("measurement", dist.Normal(weight, 0.75), obs=MEASURED)


def scale_guide(guess):
    """The posterior's family: a normal whose mean ``a`` and deviation ``b`` are learned."""
    a = aleator.param("a", guess)
    b = aleator.param("b", torch.tensor(1.0), constraint=constraints.positive)
    aleator.sample("weight", dist.Normal(a, b))


# [weighing]


def weighing(folder: Path, num_steps: int = 2500, seed: int = 0) -> tuple[float, float]:
    """Fit the guide, print it beside the exact posterior, and draw the way there; returns ``a`` and ``b``."""
    precision = 1.0 + 1.0 / 0.75**2
    exact_a = (float(GUESS) + float(MEASURED) / 0.75**2) / precision
    exact_b = math.sqrt(1.0 / precision)
    history: list[tuple[float, float]] = []
    with aleator.ParamStore() as store:
        svi = SVI(
            scale,
            scale_guide,
            Adam({"lr": 0.003}),
            Trace_ELBO(),
            num_steps=num_steps,
            rng=seed,
            callback=lambda step, loss: history.append((store["a"].item(), store["b"].item())),
            callback_every=10,
        )
        svi.run(GUESS)
        a, b = store["a"].item(), store["b"].item()
    print(f"a = {a:.3f} (exact {exact_a:.3f})   b = {b:.3f} (exact {exact_b:.3f})")
    _draw_weighing(folder / "quickstart.png", svi.losses, history, exact_a, exact_b)
    return a, b


def _draw_weighing(path: Path, losses, history, exact_a: float, exact_b: float) -> None:
    figure, axes = plt.subplots(1, 3, figsize=(12, 3.5))
    axes[0].plot(losses, linewidth=0.5)
    axes[0].set(title="loss", xlabel="step", ylabel="minus ELBO")
    steps = [10 * (index + 1) for index in range(len(history))]
    for axis, name, index, exact in ((axes[1], "a", 0, exact_a), (axes[2], "b", 1, exact_b)):
        axis.plot(steps, [values[index] for values in history], label="learned")
        axis.axhline(exact, color="black", linestyle="--", label=f"exact {exact:.2f}")
        axis.set(title=name, xlabel="step")
        axis.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
    print(f"saved {path.name}")


EFFECTS = torch.tensor([28.0, 8.0, -3.0, 7.0, -1.0, 1.0, 18.0, 12.0])
ERRORS = torch.tensor([15.0, 10.0, 16.0, 11.0, 9.0, 11.0, 10.0, 18.0])


# [eight-schools]
def schools(errors, effects):
    """Eight coaching programs whose effects share a mean and a spread (Rubin 1981), non-centred."""
    mean = aleator.sample("mean", dist.Normal(0.0, 5.0))
    spread = aleator.sample("spread", dist.HalfCauchy(5.0))
    with aleator.plate("schools", len(errors)):
        offset = aleator.sample("offset", dist.Normal(0.0, 1.0))
        effect = aleator.deterministic("effect", mean + spread * offset, event_dim=0)
        aleator.sample("observed", dist.Normal(effect, errors), obs=effects)


def schools_guide(errors, effects):
    """Every latent value on its own: normals, and a log-normal for the spread."""
    mean_loc = aleator.param("mean_loc", torch.tensor(0.0))
    mean_scale = aleator.param("mean_scale", torch.tensor(1.0), constraint=constraints.positive)
    spread_loc = aleator.param("spread_loc", torch.tensor(0.0))
    spread_scale = aleator.param("spread_scale", torch.tensor(1.0), constraint=constraints.positive)
    aleator.sample("mean", dist.Normal(mean_loc, mean_scale))
    aleator.sample("spread", dist.LogNormal(spread_loc, spread_scale))
    offset_loc = aleator.param("offset_loc", torch.zeros(len(errors)))
    offset_scale = aleator.param("offset_scale", torch.ones(len(errors)), constraint=constraints.positive)
    with aleator.plate("schools", len(errors)):
        aleator.sample("offset", dist.Normal(offset_loc, offset_scale))


# [eight-schools]


def eight_schools(
    folder: Path, num_steps: int = 2500, num_samples: int = 1000, seed: int = 0
) -> dict[str, torch.Tensor]:
    """Fit eight schools, print the posterior table and draw it; returns the draws by site."""
    with aleator.ParamStore():
        svi = SVI(
            schools,
            schools_guide,
            Adam({"lr": 0.01}),
            Trace_ELBO(num_particles=1),
            num_steps=num_steps,
            num_samples=num_samples,
            rng=seed,
        )
        svi.run(ERRORS, EFFECTS)
        draws = {name: svi.draws.values[name] for name in ("mean", "spread", "effect")}
    rows = [("mean", draws["mean"]), ("spread", draws["spread"])]
    rows += [(f"effect[{index}]", draws["effect"][:, index]) for index in range(len(EFFECTS))]
    print(f"{'site':>10} {'mean':>8} {'sd':>8} {'5%':>8} {'50%':>8} {'95%':>8}")
    for name, values in rows:
        low, middle, high = torch.quantile(values, torch.tensor([0.05, 0.5, 0.95])).tolist()
        print(f"{name:>10} {values.mean():8.2f} {values.std():8.2f} {low:8.2f} {middle:8.2f} {high:8.2f}")
    _draw_schools(folder / "eight_schools.png", svi.losses, draws["effect"])
    return draws


def _draw_schools(path: Path, losses, effect: torch.Tensor) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4))
    left.plot(losses, linewidth=0.5)
    left.set(title="loss", xlabel="step", ylabel="minus ELBO", yscale="symlog")
    places = range(len(EFFECTS))
    right.errorbar(places, EFFECTS, yerr=ERRORS, fmt="o", label="measured, one standard error")
    low, middle, high = torch.quantile(effect, torch.tensor([0.05, 0.5, 0.95]), dim=0)
    right.errorbar(
        [place + 0.2 for place in places],
        middle,
        yerr=torch.stack([middle - low, high - middle]),
        fmt="s",
        label="posterior median, 5% to 95%",
    )
    right.set(title="effects of eight schools", xlabel="school")
    right.legend()
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)
    print(f"saved {path.name}")


def main() -> None:
    """Run both examples."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path()
    a, b = weighing(folder)
    assert max(abs(a - 9.14), abs(b - 0.6)) < 0.1, "the guide should end at the exact posterior"
    eight_schools(folder)


if __name__ == "__main__":
    main()
