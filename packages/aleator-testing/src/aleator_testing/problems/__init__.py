"""Models and guides whose loss and gradient are known: by closed forms, or by sums over all draws."""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING

from aleator_testing.problems.enumerated import enumerated_problems
from aleator_testing.problems.plated import event, local, nested, plated, sequential, shared_dim, subsampled
from aleator_testing.problems.problem import Problem
from aleator_testing.problems.programs import auxiliary, chain, single
from aleator_testing.problems.weighted import masked, masked_latent, scaled

if TYPE_CHECKING:
    from aleator_testing.subject import Subject

__all__ = ["Problem", "applicable", "problems"]

KINDS = ("normal", "bernoulli")


@cache
def problems() -> dict[str, Problem]:
    """Return every enumerated problem by name."""
    found = [
        *(make(kind) for make in (single, auxiliary, plated, nested, event, sequential, shared_dim) for kind in KINDS),
        *(make(kind) for make in (scaled, masked, masked_latent, subsampled, local) for kind in KINDS),
        *(local(kind, 2) for kind in KINDS),
        *(chain(first, second) for first in KINDS for second in KINDS),
        *(make("bernoulli", "normal") for make in (plated, nested, subsampled, scaled, masked)),
        chain("normal", "normal", "score"),
        *enumerated_problems(),
    ]
    return {problem.name: problem for problem in found}


def applicable(subject: Subject, *names: str) -> Iterator[Problem]:
    """Yield the problems of these families that an estimator declares itself able to do.

    Args:
        subject: the estimator that is checked.
        names: beginnings of names, ``"plate"`` for ``"plate-normal"`` and ``"plate-bernoulli"``.
    """
    # A forced score on a normal is exact at the nodes for polynomials only: not for bounds with a logarithm.
    rules = subject.capabilities.gradient_rules if subject.capabilities.bound == "elbo" else frozenset()
    for name, problem in problems().items():
        if name.startswith(names) and all(subject.supports(need) for need in problem.requires):
            if problem.rule == "pathwise" or problem.rule in rules:
                yield problem
