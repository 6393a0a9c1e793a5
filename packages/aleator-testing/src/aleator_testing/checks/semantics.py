"""Group D: what handlers, plates and the order of sites mean, compared exactly over all draws."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import Tensor

import aleator
import aleator.distributions as dist
from aleator import ParamStore, handlers
from aleator_testing.check import Check, CheckFailure, check
from aleator_testing.checks.exactness import made, particle_options, reference, require_truth
from aleator_testing.enumeration import exact_expectation
from aleator_testing.problems import applicable, problems
from aleator_testing.problems.formulas import log_normal
from aleator_testing.problems.problem import START, Latent, Problem, draw, theta
from aleator_testing.problems.programs import ONE, X, needs
from aleator_testing.statistics import require_close

if TYPE_CHECKING:
    from aleator_testing.subject import Subject

__all__ = ["CHECKS"]


@check(20, group="D", level="fast", cost="hundreds of estimates")
def respects_scale_mask(subject: Subject) -> None:
    """A scale multiplies the site's term alone; what a mask leaves out adds nothing, in value and gradient, and no NaN.

    A draw's score is neither scaled nor masked: those say what counts, not what was drawn.
    """
    for problem in applicable(subject, "scale", "mask"):
        require_truth(subject, problem)


@check(21, group="D", level="fast", cost="tens of estimates")
def respects_condition_block_replay_substitute(subject: Subject) -> None:
    """A conditioned latent is data, a blocked site is not there, replayed draws and given parameters are used."""
    single = problems()["single-normal"]
    estimator = made(subject)
    truth = reference(estimator, single)

    def conditioned() -> None:
        z = draw("normal", "z")
        aleator.sample("x", dist.Normal(2.0 * z + theta()[-2], ONE))

    def blocked() -> None:
        with handlers.block(hide=["nuisance"]):
            aleator.sample("nuisance", dist.Normal(ONE, ONE))
        single.model()

    def with_shift() -> None:
        z = draw("normal", "z")
        shift = aleator.param("shift", torch.tensor(5.0, dtype=torch.float64))
        aleator.sample("x", dist.Normal(2.0 * z + shift, ONE), obs=X[0])

    programs = {
        "condition": handlers.condition(conditioned, data={"x": X[0]}),
        "block": blocked,
        "substitute": handlers.substitute(with_shift, data={"shift": torch.tensor(START[-2], dtype=torch.float64)}),
    }
    for name, model in programs.items():
        found = exact_expectation(estimator, model, single.guide)
        require_close(found.loss, truth.loss, f"expected loss with {name}")
        kept = slice(None) if name != "substitute" else [0, len(START) - 1]
        require_close(found.gradients["theta"][kept], truth.gradient[kept], f"expected gradient with {name}")
    _require_replayed(subject, single)


def _require_replayed(subject: Subject, problem: Problem) -> None:
    """A guide that equals the prior cancels it, whatever the estimator knows of KL: what remains is the likelihood."""

    def guide() -> None:
        draw("normal", "z")

    value = torch.tensor(0.7, dtype=torch.float64)
    with ParamStore():
        fixed = handlers.trace(handlers.condition(guide, data={"z": value})).get_trace()
    fixed.nodes["z"].is_observed = False
    found = exact_expectation(made(subject), problem.model, handlers.replay(guide, trace=fixed))
    if found.runs != 1:
        raise CheckFailure(f"a replayed guide has no draws left, but {found.runs} estimates differ in their draws")
    require_close(found.loss, -log_normal(X[0], 2.0 * value + START[-2], 1.0), "loss of a replayed draw")


@check(22, group="D", level="fast", cost="tens of estimates")
def auxiliary_and_empty(subject: Subject) -> None:
    """A guide's own helper adds its -log q; a model of data alone with an empty guide gives its likelihood."""
    for problem in applicable(subject, "auxiliary"):
        require_truth(subject, problem)

    def observed() -> None:
        with aleator.plate("data", 3):
            aleator.sample("x", dist.Normal(theta()[0], ONE), obs=X)

    def empty() -> None:
        pass

    found = exact_expectation(made(subject), observed, empty)
    require_close(found.loss, -log_normal(X, START[0], 1.0).sum(), "loss of a model of data alone")
    expected = torch.zeros(len(START), dtype=torch.float64)
    expected[0] = -(X - START[0]).sum()
    require_close(found.gradients["theta"], expected, "gradient of a model of data alone")


@check(23, group="D", level="fast", cost="hundreds of estimates")
def plates_and_event_dims(subject: Subject) -> None:
    """Plates (nested, of one element, as loops, at dims used in turn) and event dims equal the unrolled program."""
    for problem in applicable(subject, "plate", "nested", "event", "sequential", "shared-dim", "local"):
        if "subsampling" not in problem.requires:
            require_truth(subject, problem)
    for options in particle_options(subject):
        for problem in applicable(subject, "sequential", "shared-dim-bernoulli"):
            require_truth(subject, problem, **options)


@check(24, group="D", level="fast", cost="tens of estimates")
def site_order_irrelevant(subject: Subject) -> None:
    """Sites that do not depend on each other may come in any order, in the model and in the guide."""
    kinds = ("normal", "bernoulli") if subject.supports("non_reparam") else ("normal",)
    for kind in kinds:
        for model_order in ("ab", "ba"):
            for guide_order in ("ab", "ba"):
                require_truth(subject, _independent(kind, model_order, guide_order))


def _independent(kind: str, model_order: str, guide_order: str) -> Problem:
    parameter = {"a": 0, "b": 1}

    def model() -> None:
        drawn = {name: draw(kind, name) for name in model_order}
        for name in reversed(model_order):
            aleator.sample(f"x_{name}", dist.Normal(drawn[name] + theta()[-2], ONE), obs=X[parameter[name]])

    def guide() -> None:
        for name in guide_order:
            draw(kind, name, theta()[parameter[name]])

    latents = (Latent("a", kind, (), lambda v, t: t[0]), Latent("b", kind, (), lambda v, t: t[1]))

    def log_weight(v: dict[str, Tensor], t: Tensor) -> Tensor:
        terms = [z.kl(v, t) + log_normal(X[parameter[z.name]], v[z.name] + t[-2], 1.0) for z in latents]
        return terms[0] + terms[1]

    name = f"independent-{kind} ({model_order} in the model, {guide_order} in the guide)"
    return Problem(name, model, guide, latents, log_weight, needs(kind))


CHECKS: tuple[Check, ...] = (
    respects_scale_mask,
    respects_condition_block_replay_substitute,
    auxiliary_and_empty,
    plates_and_event_dims,
    site_order_irrelevant,
)
