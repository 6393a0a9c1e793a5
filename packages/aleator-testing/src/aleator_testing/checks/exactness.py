"""Comparison of an estimator with the truth of a problem, over all its draws."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aleator_testing.check import CheckFailure, NotApplicable
from aleator_testing.enumeration import exact_expectation
from aleator_testing.statistics import require_close

if TYPE_CHECKING:
    from aleator.infer import AbstractEstimator
    from aleator_testing.problems import Problem
    from aleator_testing.problems.problem import Truth
    from aleator_testing.subject import Subject

__all__ = ["REFERENCE_BOUNDS", "made", "particle_options", "reference", "require_truth"]

REFERENCE_BOUNDS = frozenset({"elbo", "iwae", "renyi"})


def made(subject: Subject, particles: int = 1, **options: Any) -> AbstractEstimator:  # noqa: ANN401  # the factory's own
    """Make the estimator with this many particles, where its factory can be told."""
    if subject.accepts("num_particles"):
        options["num_particles"] = particles
    return subject.make(**options)


def particle_options(subject: Subject) -> list[dict[str, Any]]:
    """Return the ways in which a subject can be asked for two particles."""
    if not subject.accepts("num_particles"):
        return []
    ways: list[dict[str, Any]] = [{"particles": 2}]
    if subject.supports("vectorized_particles") and subject.accepts("vectorize_particles"):
        ways.append({"particles": 2, "vectorize_particles": True})
    return ways


def reference(estimator: AbstractEstimator, problem: Problem) -> Truth:
    """Return the truth of the estimator's own bound.

    Raises:
        NotApplicable: the bound is the author's own, so its value is not known here.
    """
    bound = estimator.capabilities.bound
    if bound not in REFERENCE_BOUNDS:
        raise NotApplicable(f"the value of the bound {bound!r} is not known here: elbo, iwae and renyi are")
    return problem.truth(bound, getattr(estimator, "num_particles", 1), getattr(estimator, "alpha", 0.0))


def require_truth(
    subject: Subject,
    problem: Problem,
    particles: int = 1,
    value: bool = True,
    gradient: bool = True,
    **options: Any,  # noqa: ANN401  # the factory's own
) -> None:
    """Require that loss and gradient, averaged over all draws, are those of the formulas.

    Raises:
        CheckFailure: naming the problem, with both numbers.
    """
    estimator = made(subject, particles, **options)
    truth = reference(estimator, problem)
    found = exact_expectation(estimator, problem.model, problem.guide)
    stated = f"{problem.name}, {estimator!r}"
    if value:
        require_close(found.loss, truth.loss, f"expected loss on {stated}")
    if gradient:
        if "theta" not in found.gradients:
            raise CheckFailure(f"gradient on {stated}: the parameter 'theta' took no part")
        require_close(found.gradients["theta"], truth.gradient, f"expected gradient on {stated}")
