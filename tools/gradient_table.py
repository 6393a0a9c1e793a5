"""The gradients of the registered ELBO estimators against exact enumeration, at many draws: docs/gradients.md.

``python tools/gradient_table.py > docs/gradients.md`` makes the page; ``--draws`` and ``--estimators`` make it smaller.
Draws run at once under ``torch.func.vmap``, each with its own randomness; K particles loop or are vectorized inside.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

import aleator
from aleator import ParamStore
from aleator.errors import UnsupportedModelError
from aleator.infer import AbstractEstimator, get_estimator, is_available
from aleator_testing.mutants.gradients import ScoreDropped, ScoreScaled
from aleator_testing.problems import Problem, problems
from aleator_testing.problems.problem import START

ESTIMATORS = ("Trace_ELBO", "TraceGraph_ELBO", "TraceMeanField_ELBO", "TraceEnum_ELBO")
MUTANTS: dict[str, Callable[..., AbstractEstimator]] = {
    "mutant: score term dropped": ScoreDropped,
    "mutant: score term scaled": ScoreScaled,
}
KINDS = {"pathwise": "normal", "score": "bernoulli", "mixed": "bernoulli-normal"}
FAMILIES = {
    "plain": "chain",
    "plate": "plate",
    "nested plates": "nested",
    "subsample": "subsample",
    "mask": "mask",
    "scale": "scale",
}
PARTICLES: dict[str, dict[str, Any]] = {
    "K=1": {},
    "K=2": {"num_particles": 2},
    "K=5": {"num_particles": 5},
    "K=2 vectorized": {"num_particles": 2, "vectorize_particles": True},
    "K=5 vectorized": {"num_particles": 5, "vectorize_particles": True},
}
LIMIT = 3.0
CHUNK = 25_000  # what is held at once


@dataclass(frozen=True)
class Cell:
    """One estimator on one program: a z-score per parameter that has noise, and the largest."""

    estimator: str
    kind: str
    family: str
    particles: str
    z: Tensor
    seconds: float


def problem_for(family: str, kind: str) -> Problem:
    """Return the program of a cell."""
    prefix, suffix = FAMILIES[family], KINDS[kind]
    if family == "plain" and "-" not in suffix:
        suffix = f"{suffix}-{suffix}"
    return problems()[f"{prefix}-{suffix}"]


def gradients(estimator: AbstractEstimator, problem: Problem, draws: int, seed: int) -> tuple[Tensor, Tensor]:
    """Return the mean gradient over the draws, and its standard error."""
    with ParamStore() as store, aleator.rng(seed), aleator.validation_enabled(False):
        estimator.estimate(problem.model, problem.guide)

        def surrogate(theta: Tensor) -> Tensor:
            with store.bind({"theta": theta}, {}):
                return estimator.estimate(problem.model, problem.guide).surrogate

        start = torch.tensor(START, dtype=torch.float64).expand(min(draws, CHUNK), -1)
        each = torch.func.vmap(torch.func.grad(surrogate), randomness="different")
        found = torch.cat([each(start) for _ in range(max(1, draws // CHUNK))])
    return found.mean(0), found.std(0) / math.sqrt(len(found))


def z_scores(estimator: AbstractEstimator, problem: Problem, draws: int, seed: int) -> Tensor:
    """Return (mean gradient - truth) / standard error, of the parameters that have noise; others must be right."""
    mean, error = gradients(estimator, problem, draws, seed)
    difference = mean - problem.truth().gradient
    noisy = error > 1e-12
    if bool((difference[~noisy].abs() > 1e-9).any()):
        return torch.full((1,), math.inf)
    return difference[noisy] / error[noisy]


def cells(name: str, factory: Callable[..., AbstractEstimator], draws: int) -> Iterator[Cell]:
    """Yield the cells of an estimator; those that it refuses by name are left out."""
    for number, (family, kind) in enumerate((family, kind) for family in FAMILIES for kind in KINDS):
        for turn, (particles, options) in enumerate(PARTICLES.items()):
            started = time.perf_counter()
            try:
                z = z_scores(factory(**options), problem_for(family, kind), draws, 100 * number + turn)
            except UnsupportedModelError:
                continue
            yield Cell(name, kind, family, particles, z, time.perf_counter() - started)


def table(found: list[Cell]) -> list[str]:
    """Return the largest |z| of every cell, as a markdown table."""
    lines = [f"| program | {' | '.join(PARTICLES)} |", "|---" * (len(PARTICLES) + 1) + "|"]
    for family in FAMILIES:
        for kind in KINDS:
            row = {
                cell.particles: cell.z.abs().max().item()
                for cell in found
                if (cell.family, cell.kind) == (family, kind)
            }
            if row:
                shown = (f"**{row[p]:.1f}**" if row[p] > LIMIT else f"{row[p]:.1f}" for p in PARTICLES if p in row)
                lines.append(f"| {family}, {kind} | {' | '.join(shown)} |")
    return lines


def summary(found: list[Cell]) -> str:
    """Return how many z-scores there are, how many exceed the limit, and how many should by chance."""
    z = torch.cat([cell.z for cell in found]).abs()
    chance = math.erfc(LIMIT / math.sqrt(2.0))
    spread = z.square().mean().sqrt().item()
    return (
        f"{len(found)} cells, {len(z)} z-scores; the largest |z| is {z.max().item():.2f}; "
        f"{int((z > LIMIT).sum())} exceed {LIMIT:g} ({len(z) * chance:.1f} expected by chance); "
        f"root mean square {spread:.3f} (1 expected)."
    )


def main(arguments: list[str] | None = None) -> int:
    """Print the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--draws", type=int, default=100_000)
    parser.add_argument("--estimators", nargs="*", default=[name for name in ESTIMATORS if is_available(name)])
    options = parser.parse_args(arguments)
    official, wrong = [], 0
    body: list[str] = []
    # The programs have nothing to enumerate: what is held is how an estimator treats its draws.
    quiet = {"strict_enumeration_warning": False}
    factories: dict[str, Callable[..., AbstractEstimator]] = {
        **{name: partial(get_estimator(name), **quiet) for name in options.estimators},
        **MUTANTS,
    }
    for name, factory in factories.items():
        started = time.perf_counter()
        found = list(cells(name, factory, options.draws))
        print(f"{name}: {time.perf_counter() - started:.0f} s", file=sys.stderr)
        body += ["", f"## {name}", "", summary(found), "", *table(found)]
        if name not in MUTANTS:
            official += found
            wrong += sum(bool((cell.z.abs() > 5.0).any()) for cell in found)
        elif not any(bool((cell.z.abs() > 8.0).any()) for cell in found):
            wrong += 1
    print(HEAD.format(draws=f"{options.draws:,}", summary=summary(official)))
    print("\n".join(body))
    return 1 if wrong else 0


HEAD = """# Gradients against exact enumeration

Made by `python tools/gradient_table.py > docs/gradients.md`.

Each cell averages the gradient of {draws} estimates of one program and compares it with the gradient of the exact
objective, which is summed over all draws from formulas written without the library (`aleator_testing.problems`). Shown
is the largest |z| over the program's parameters, those of the model among them, z being the difference in standard
errors; what exceeds 3 is bold. Parameters without noise must agree to
1e-9, else the cell says inf. Programs that an estimator refuses by name are
left out. The two mutants at the end are estimators with one fault each: the table finds them where the fault matters.

All official estimators together: {summary}"""


if __name__ == "__main__":
    raise SystemExit(main())
