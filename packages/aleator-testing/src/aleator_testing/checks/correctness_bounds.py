"""Group E: what the evidence and other bounds say about a bound, and draws that are summed out."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import torch

from aleator_testing.check import Check, CheckFailure, NotApplicable, check
from aleator_testing.checks.exactness import REFERENCE_BOUNDS, made, require_truth
from aleator_testing.enumeration import exact_expectation
from aleator_testing.problems import problems
from aleator_testing.problems.conjugate import conjugate_pairs
from aleator_testing.problems.formulas import log_bernoulli, log_normal
from aleator_testing.problems.problem import PRIOR_LOGIT, START
from aleator_testing.problems.programs import X
from aleator_testing.statistics import require_close

if TYPE_CHECKING:
    from aleator_testing.subject import Subject

__all__ = ["CHECKS"]


@check(28, group="E", level="fast", requires=("enumeration",), cost="tens of estimates")
def enumeration_exact(subject: Subject) -> None:
    """Marked draws are summed out: value and gradient equal brute force, and without other draws nothing is random."""
    for name, problem in problems().items():
        if name.startswith("enumerated"):
            require_truth(subject, problem)
    problem = problems()["enumerated-guide"]
    found = exact_expectation(made(subject), problem.model, problem.guide)
    if found.spread > 1e-9:
        raise CheckFailure(
            f"every draw of {problem.name} is marked, but the loss has the standard deviation {found.spread:.3g}"
        )


@check(29, group="E", level="fast", cost="tens of estimates")
def tight_at_posterior(subject: Subject) -> None:
    """With the posterior as guide the loss is -log p(x), and the guide has nothing to gain: its gradient is 0."""
    if subject.capabilities.bound not in REFERENCE_BOUNDS:
        raise NotApplicable(f"the value of the bound {subject.capabilities.bound!r} at the posterior is not known here")
    for pair in conjugate_pairs():
        if pair.name not in ("normal-normal", "mixture") or not all(subject.supports(need) for need in pair.requires):
            continue
        at = {"theta": torch.tensor(pair.posterior, dtype=torch.float64)}
        for particles in (1, 2) if subject.accepts("num_particles") else (1,):
            estimator = made(subject, particles)
            found = exact_expectation(estimator, pair.model, pair.guide, parameters=at)
            require_close(found.loss, -pair.evidence, f"loss at the posterior of {pair.name}, {estimator!r}")
            zero = torch.zeros(len(pair.posterior), dtype=torch.float64)
            require_close(found.gradients["theta"], zero, f"gradient at the posterior of {pair.name}, {estimator!r}")


@check(30, group="E", level="fast", cost="tens of estimates")
def bound_order(subject: Subject) -> None:
    """The bound is below log p(x); more particles do not lower it, and leave a mean bound alone."""
    bound = subject.capabilities.bound
    if bound not in REFERENCE_BOUNDS:
        raise NotApplicable(f"where the bound {bound!r} stands among others is not known here")
    name = "single-bernoulli" if subject.supports("non_reparam") else "single-normal"
    problem, log_evidence = problems()[name], _log_evidence(name)
    counts = (1, 2, 3) if subject.accepts("num_particles") else (1,)
    values = [-exact_expectation(made(subject, count), problem.model, problem.guide).loss.item() for count in counts]
    require_close(values[0], -problem.truth().loss, f"bound of one particle on {name}")
    if any(value > log_evidence + 1e-9 for value in values) and getattr(made(subject), "alpha", 0.0) >= 0.0:
        raise CheckFailure(f"{name}: the bounds {values} for {counts} particles exceed log p(x) = {log_evidence:.6g}")
    gains = [later - earlier for earlier, later in itertools.pairwise(values)]
    if bound == "elbo" and any(abs(gain) > 1e-9 for gain in gains):
        raise CheckFailure(f"{name}: a mean does not move with the number of particles, but {values} for {counts} do")
    if bound != "elbo" and any(gain <= 1e-9 for gain in gains):
        raise CheckFailure(f"{name}: the bound {bound!r} rises with the particles, but found {values} for {counts}")


def _log_evidence(name: str) -> float:
    """Return log p(x) of a single draw: a sum over two values, or a normal's convolution."""
    zero = torch.zeros((), dtype=torch.float64)
    if name == "single-normal":
        return log_normal(X[0], START[-2], math.sqrt(5.0)).item()
    joint = [
        log_bernoulli(zero + z, zero + PRIOR_LOGIT) + log_normal(X[0], 2.0 * z + START[-2], 1.0) for z in (0.0, 1.0)
    ]
    return torch.logaddexp(*joint).item()


CHECKS: tuple[Check, ...] = (enumeration_exact, tight_at_posterior, bound_order)
