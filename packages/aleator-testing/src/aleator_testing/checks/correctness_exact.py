"""Group E, without noise: value and gradient of an estimator's expectation, over all draws."""

from __future__ import annotations

from typing import TYPE_CHECKING, final

import torch

import aleator
from aleator import ParamStore
from aleator.errors import UnsupportedModelError
from aleator.handlers import Messenger
from aleator_testing.check import Check, CheckFailure, NotApplicable, check
from aleator_testing.checks.exactness import made, particle_options, require_truth
from aleator_testing.enumeration import exact_expectation
from aleator_testing.problems import applicable, problems
from aleator_testing.problems.problem import START
from aleator_testing.statistics import require_close

if TYPE_CHECKING:
    from aleator.infer import AbstractEstimator
    from aleator.sites import Site
    from aleator_testing.problems import Problem
    from aleator_testing.subject import Subject

__all__ = ["CHECKS"]

STEP = 1e-4  # of the difference quotients; their error is of the order STEP**2
DIRECTION = torch.tensor([1.0, -0.7, 0.6, 0.5, 0.9, 0.8, -1.2], dtype=torch.float64)


@check(25, group="E", level="fast", cost="tens of estimates")
def value_exact(subject: Subject) -> None:
    """The loss, averaged over all draws, is minus the declared bound, for one particle and for two."""
    for options in ({"particles": 1}, *particle_options(subject)):
        for problem in applicable(subject, "single"):
            require_truth(subject, problem, gradient=False, **options)
    for problem in applicable(subject, "chain"):
        require_truth(subject, problem, gradient=False)


@check(26, group="E", level="fast", cost="hundreds of estimates")
def grad_exact_reparam(subject: Subject) -> None:
    """The gradient along the draws, averaged over all of them, is the gradient of the declared bound."""
    for options in ({"particles": 1}, *particle_options(subject)):
        for problem in applicable(subject, "single-normal"):
            require_truth(subject, problem, value=False, **options)
    for problem in applicable(subject, "chain-normal-normal", "plate-normal"):
        require_truth(subject, problem, value=False)


@check(27, group="E", level="fast", cost="hundreds of estimates")
def grad_exact_score(subject: Subject) -> None:
    """The gradient of draws without a path is the bound's; an estimator that cannot do them refuses them by name."""
    if not subject.supports("non_reparam"):
        require_refused(subject, problems()["single-bernoulli"])
        return
    for options in ({"particles": 1}, *particle_options(subject)):
        for problem in applicable(subject, "single-bernoulli", "chain-bernoulli-bernoulli"):
            require_truth(subject, problem, value=False, **options)
    for problem in applicable(subject, "chain-bernoulli-normal", "chain-normal-bernoulli", "plate-bernoulli"):
        require_truth(subject, problem, value=False)


def require_refused(subject: Subject, problem: Problem) -> None:
    """Require an ``UnsupportedModelError`` that names the site or the capability."""
    try:
        with ParamStore():
            made(subject).estimate(problem.model, problem.guide)
    except UnsupportedModelError as error:
        if "'z'" in str(error) or "non_reparam" in str(error):
            return
        raise CheckFailure(
            f"the refusal names neither the site 'z' nor the capability 'non_reparam': {error}"
        ) from error
    raise CheckFailure(
        f"{subject.name} does not declare 'non_reparam', but gave a number for {problem.name}, whose "
        f"draws have no path; raise UnsupportedModelError, or declare the capability"
    )


@check(26, group="E", level="fast", cost="hundreds of estimates")
def grad_is_that_of_the_loss(subject: Subject) -> None:
    """The expected gradient is the slope of the expected loss, whatever the bound is."""
    names = ["single-normal"]
    if subject.supports("non_reparam"):
        names += ["single-bernoulli", "chain-bernoulli-normal"]
    for name in names:
        problem = problems()[name]
        for particles in (1, 2) if subject.accepts("num_particles") else (1,):
            estimator = made(subject, particles)
            start = torch.tensor(START, dtype=torch.float64)
            found = exact_expectation(estimator, problem.model, problem.guide, parameters={"theta": start})
            slope = _slope(estimator, problem, start)
            what = f"slope of the expected gradient beside the loss's own, {name}, {estimator!r}"
            require_close(found.gradients["theta"] @ DIRECTION, slope, what, tolerance=1e-6)


def _slope(estimator: AbstractEstimator, problem: Problem, start: torch.Tensor) -> torch.Tensor:
    """Return the difference quotient of the expected loss along ``DIRECTION``."""
    up, down = (
        exact_expectation(
            estimator, problem.model, problem.guide, parameters={"theta": start + sign * STEP * DIRECTION}
        ).loss
        for sign in (1.0, -1.0)
    )
    return (up - down) / (2.0 * STEP)


@check(31, group="E", level="fast", cost="hundreds of estimates")
def particles(subject: Subject) -> None:
    """Two particles have the bound's mean, and for a mean bound half the variance; looped and vectorized ones agree."""
    ways = particle_options(subject)
    if not ways:
        raise NotApplicable("the factory takes no num_particles")
    for problem in applicable(subject, "single", "sequential-bernoulli", "local-bernoulli-subsampled"):
        one = exact_expectation(made(subject, 1), problem.model, problem.guide)
        for options in ways:
            estimator = made(subject, **options)
            found = exact_expectation(estimator, problem.model, problem.guide)
            require_truth(subject, problem, **options)
            if subject.capabilities.bound == "elbo" and "subsampling" not in problem.requires:
                what = f"variance of the loss on {problem.name}, {estimator!r}, against half of one particle's"
                require_close(found.spread**2, one.spread**2 / 2.0, what, tolerance=1e-6)


@check(32, group="E", level="fast", requires=("subsampling",), cost="hundreds of estimates")
def subsampling_unbiased(subject: Subject) -> None:
    """The average over all minibatches is the full data's loss and gradient."""
    declared_mean = subject.capabilities.bound == "elbo"
    for problem in applicable(subject, "subsample" if declared_mean else "local", "local"):
        if "subsampling" in problem.requires:
            require_truth(subject, problem)
    for options in particle_options(subject):
        for problem in applicable(subject, "local-bernoulli-subsampled"):
            require_truth(subject, problem, **options)


@check(32, group="E", level="fast", requires=("subsampling",), cost="tens of estimates")
def one_minibatch_per_estimate(subject: Subject) -> None:
    """All particles of one estimate, in the guide and in the model, see the same minibatch."""
    problem = problems()["local-normal-subsampled"]
    for options in ({"particles": 1}, *particle_options(subject)):
        estimator = made(subject, **options)
        for seed in range(6):
            with ParamStore(), aleator.rng(seed):
                estimator.estimate(problem.model, problem.guide)  # what an estimator looks up once, it looks up here
                with _Minibatches() as seen:
                    estimator.estimate(problem.model, problem.guide)
            if len(seen.met) != 1:
                raise CheckFailure(f"{estimator!r} looked at the minibatches {sorted(seen.met)} in one estimate")


@final
class _Minibatches(Messenger):
    """Notes the indices that the plate of the data hands out."""

    def __init__(self) -> None:
        self.met: set[tuple[int, ...]] = set()

    def postprocess_subsample(self, site: Site) -> None:
        if site.name == "data":  # vectorized particles may be a plate of their own
            self.met.add(tuple(sorted(site.value.tolist())))


CHECKS: tuple[Check, ...] = (
    value_exact,
    grad_exact_reparam,
    grad_exact_score,
    grad_is_that_of_the_loss,
    particles,
    subsampling_unbiased,
    one_minibatch_per_estimate,
)
