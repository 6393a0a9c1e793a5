"""Compare weights, effective sample size, Pareto smoothing and WAIC with ArviZ on the same numbers.

    python tools/oracle_arviz.py

Needs ArviZ beside aleator-importance. Prints a markdown table of the largest differences; fails where one is over 1e-6.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import arviz
import numpy
import torch
from arviz.stats.stats_utils import logsumexp as reference_log_sum

import aleator
import aleator.distributions as dist
from aleator_importance import Importance, effective_sample_size, normalized_log_weights, smooth_log_weights
from aleator_posterior import Draws, information_criterion, to_arviz

TOLERANCE = 1e-6


def log_weights() -> Iterator[tuple[str, torch.Tensor]]:
    """Yield kinds of log weights, from harmless to hopeless."""
    source = torch.Generator().manual_seed(7)
    for count in (100, 1000, 10_000):
        exponential = -torch.log1p(-torch.rand(count, generator=source, dtype=torch.float64))
        for shape in (0.2, 0.6, 1.2):
            yield f"Pareto tail of shape {shape}, n = {count}", shape * exponential
        yield f"log-normal, n = {count}", 2.0 * torch.randn(count, generator=source, dtype=torch.float64) - 700.0
        yield f"bounded, n = {count}", torch.rand(count, generator=source, dtype=torch.float64)


def compare_weights() -> Iterator[tuple[str, str, float]]:
    """Yield what was compared, on what, and the largest difference."""
    for kind, raw in log_weights():
        reference = raw.numpy() - reference_log_sum(raw.numpy())
        yield "normalized log weights", kind, _largest(normalized_log_weights(raw), reference)
        size = 1.0 / numpy.square(numpy.exp(reference)).sum()
        yield "effective sample size (relative)", kind, abs(effective_sample_size(raw).item() / size - 1.0)
        smoothed = smooth_log_weights(raw)
        expected, shape = arviz.psislw(raw.numpy().copy())
        yield "smoothed log weights", kind, _largest(smoothed.log_weights, expected)
        yield "k-hat", kind, abs(smoothed.pareto_k.item() - float(shape))


def compare_posterior() -> Iterator[tuple[str, str, float]]:
    """Yield the same for a posterior that goes through ``to_arviz``: three schools twice, two observed sites."""
    effects, errors = torch.tensor([28.0, 8.0, -3.0]).double(), torch.tensor([15.0, 10.0, 16.0]).double()

    def model() -> None:
        mean = aleator.sample("mean", dist.Normal(torch.zeros((), dtype=torch.float64), 5.0))
        with aleator.plate("schools", 3):
            effect = aleator.sample("effect", dist.Normal(mean, 4.0))
            aleator.sample("first", dist.Normal(effect, errors), obs=effects)
            aleator.sample("second", dist.Normal(effect, 2 * errors), obs=effects + 1)

    draws = Importance(model, None, 500, rng=0, progress=False).run().draws
    data = to_arviz(draws)
    kind = "three schools, n = 500"
    yield "to_arviz: log weights", kind, _largest(draws.log_weights, data.sample_stats["log_weight"].values[0])
    yield "to_arviz: draws", kind, _largest(draws.values["effect"], data.posterior["effect"].values[0])
    yield "to_arviz: observed data", kind, _largest(effects, data.observed_data["first"].values)
    assert data.posterior["effect"].dims == ("chain", "draw", "schools")
    assert data.log_likelihood["second"].dims == ("chain", "draw", "schools")
    assert list(data.posterior.coords["schools"].values) == [0, 1, 2]
    alike = Draws.of_columns(
        draws.values, draws.log_likelihoods, draws.subsamples, torch.zeros(500).double(), draws.chain_ids
    )
    ours = information_criterion(alike, pointwise=True)
    for site in ("first", "second"):
        theirs = arviz.waic(data, var_name=site, pointwise=True)
        # ArviZ is on the log scale and divides the variance by n; ours is on the deviance scale and divides by n - 1.
        penalty = ours["p_waic"][site] * (499 / 500)
        elpd = -0.5 * ours["waic"][site] + ours["p_waic"][site] - penalty
        yield f"WAIC of {site!r} by datum", kind, _largest(elpd, theirs.waic_i.values)
        yield f"p_waic of {site!r}", kind, abs(penalty.sum().item() - float(theirs.p_waic))


def _largest(ours: torch.Tensor, theirs: object) -> float:
    return float(numpy.abs(ours.numpy() - numpy.asarray(theirs)).max())


def main() -> int:
    """Print the table; 1 where a difference is over the tolerance."""
    rows = [*compare_weights(), *compare_posterior()]
    worst: dict[str, tuple[float, str, int]] = {}
    for what, kind, difference in rows:
        size, where, number = worst.get(what, (-1.0, "", 0))
        worst[what] = (*max((size, where), (difference, kind)), number + 1)
    print(f"ArviZ {arviz.__version__}\n\n| what | cases | largest difference | where |\n|---|---:|---:|---|")
    for what, (difference, kind, number) in worst.items():
        print(f"| {what} | {number} | {difference:.1e} | {kind} |")
    return int(any(difference > TOLERANCE for difference, _, _ in worst.values()))


if __name__ == "__main__":
    sys.exit(main())
