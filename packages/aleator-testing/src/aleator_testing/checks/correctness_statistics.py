"""Group E, with real draws: what enumeration cannot force, compared by z-tests (``statistics`` states their rates)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

import aleator
from aleator import ParamStore
from aleator_testing.check import Check, CheckFailure, NotApplicable, check
from aleator_testing.checks.correctness_exact import require_refused
from aleator_testing.checks.exactness import REFERENCE_BOUNDS, made
from aleator_testing.problems import problems
from aleator_testing.problems.conjugate import Conjugate, conjugate_pairs
from aleator_testing.problems.problem import START
from aleator_testing.statistics import require_mean

if TYPE_CHECKING:
    from aleator.infer import AbstractEstimator
    from aleator_testing.subject import Subject

__all__ = ["CHECKS", "sample_estimates"]

DRAWS = 200
STEPS = 300


def sample_estimates(
    estimator: AbstractEstimator,
    model: Callable[..., Any],
    guide: Callable[..., Any],
    at: Sequence[float],
    count: int,
    seed: int,
) -> tuple[Tensor, Tensor]:
    """Return ``count`` losses and gradients by ``theta``, drawn with a source of their own."""
    losses, gradients = [], []
    leaf = torch.tensor(at, dtype=torch.float64, requires_grad=True)
    with ParamStore() as store, aleator.rng(seed):
        estimator.estimate(model, guide)
        with store.bind({"theta": leaf}, dict(store.buffers)), aleator.validation_enabled(False):
            for _ in range(count):
                estimate = estimator.estimate(model, guide)
                losses.append(estimate.loss.detach())
                gradient = None
                if estimate.surrogate.requires_grad:
                    (gradient,) = torch.autograd.grad(estimate.surrogate, leaf, allow_unused=True)
                gradients.append(torch.zeros_like(leaf) if gradient is None else gradient)
    return torch.stack(losses), torch.stack(gradients)


def _pairs(subject: Subject, pathwise: bool) -> list[Conjugate]:
    return [pair for pair in conjugate_pairs() if bool(pair.requires) is not pathwise]


def _require_bound(subject: Subject) -> None:
    bound = subject.capabilities.bound
    if bound not in REFERENCE_BOUNDS:
        raise NotApplicable(f"the value of the bound {bound!r} is not known here")
    if bound != "elbo" and not subject.accepts("num_particles"):
        raise NotApplicable(f"the bound {bound!r} of more than one particle has no closed form on these pairs")


@check(25, group="E", level="full", cost="thousands of estimates")
def value_unbiased(subject: Subject) -> None:
    """The mean loss of one particle is the closed form; at the posterior every draw's loss is -log p(x) on average."""
    _require_bound(subject)
    pairs = _pairs(subject, pathwise=True)
    if subject.supports("non_reparam"):
        pairs += _pairs(subject, pathwise=False)
    for seed, pair in enumerate(pairs):
        for at, what in ((pair.start, "start"), (pair.posterior, "posterior")):
            count = DRAWS if what == "start" else DRAWS // 8
            losses, _ = sample_estimates(made(subject), pair.model, pair.guide, at, count, seed)
            require_mean(losses, pair.truth(at).loss, f"mean loss on {pair.name} at the {what}")


@check(26, group="E", level="full", cost="thousands of estimates")
def grad_unbiased_reparam(subject: Subject) -> None:
    """The mean gradient along draws, implicit ones among them, is the closed form's."""
    _require_bound(subject)
    for seed, pair in enumerate(_pairs(subject, pathwise=True)):
        _, gradients = sample_estimates(made(subject), pair.model, pair.guide, pair.start, DRAWS, 10 + seed)
        require_mean(gradients, pair.truth(pair.start).gradient, f"mean gradient on {pair.name}")


@check(27, group="E", level="full", cost="thousands of estimates")
def grad_unbiased_score(subject: Subject) -> None:
    """The mean gradient of draws without a path is the truth; an estimator that cannot do them refuses them by name."""
    if not subject.supports("non_reparam"):
        require_refused(subject, problems()["chain-bernoulli-normal"])
        return
    _require_bound(subject)
    for seed, pair in enumerate(_pairs(subject, pathwise=False)):
        _, gradients = sample_estimates(made(subject), pair.model, pair.guide, pair.start, DRAWS, 20 + seed)
        require_mean(gradients, pair.truth(pair.start).gradient, f"mean gradient on {pair.name}")
    problem = problems()["chain-bernoulli-normal"]
    _, gradients = sample_estimates(made(subject), problem.model, problem.guide, START, 2 * DRAWS, 30)
    require_mean(gradients, problem.truth().gradient, f"mean gradient on {problem.name}")


@check(33, group="E", level="full", cost="hundreds of estimates")
def converges(subject: Subject) -> None:
    """300 steps from a wrong guide end at the conjugate posterior; without a step the tolerance is missed."""
    pair = next(pair for pair in conjugate_pairs() if pair.name == "normal-normal")
    target = torch.tensor(pair.posterior, dtype=torch.float64)
    leaf = torch.tensor(pair.start, dtype=torch.float64, requires_grad=True)
    estimator = made(subject)
    start = (leaf.detach() - target).abs().max().item()
    with ParamStore() as store, aleator.rng(40):
        estimator.estimate(pair.model, pair.guide)
        with store.bind({"theta": leaf}, dict(store.buffers)):
            average = _descend(estimator, pair, leaf)
    error = (average - target).abs().max().item()
    if not error < 0.12 < start:
        raise CheckFailure(
            f"after {STEPS} steps (location, log scale) average {average.tolist()}, the posterior's are "
            f"{target.tolist()}: off by {error:.3g}, 0.12 allowed ({start:.3g} before the first step)"
        )


def _descend(estimator: AbstractEstimator, pair: Conjugate, leaf: Tensor) -> Tensor:
    """Take Adam's steps at a falling rate, and return the mean of the last third of the way."""
    optimizer = torch.optim.Adam([leaf], lr=0.1)
    path = []
    for step in range(STEPS):
        optimizer.param_groups[0]["lr"] = 0.1 * 0.05 ** (step / STEPS)
        optimizer.zero_grad()
        surrogate = estimator.estimate(pair.model, pair.guide).surrogate
        if surrogate.requires_grad:
            surrogate.backward()  # type: ignore[no-untyped-call]  # torch's
        optimizer.step()
        path.append(leaf.detach().clone())
    return torch.stack(path[-STEPS // 3 :]).mean(0)


CHECKS: tuple[Check, ...] = (value_unbiased, grad_unbiased_reparam, grad_unbiased_score, converges)
