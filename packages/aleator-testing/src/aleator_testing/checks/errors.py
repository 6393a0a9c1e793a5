"""Group F: programs that do not fit are refused by name, and bad numbers are not hidden."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

import aleator
import aleator.distributions as dist
from aleator import ParamStore, handlers
from aleator.errors import ModelGuideMismatchError, UnsupportedModelError
from aleator.settings import validation_enabled
from aleator_testing.check import Check, CheckFailure, check

if TYPE_CHECKING:
    from aleator_testing.subject import Subject

__all__ = ["CHECKS"]

Program = Callable[..., Any]


def normal(*names: str, size: int | None = None) -> Program:
    """A program that samples these sites from standard normals, in a plate where a size is given."""

    def run() -> None:
        if size is None:
            for name in names:
                aleator.sample(name, dist.Normal(0.0, 1.0))
        else:
            with aleator.plate("data", size):
                for name in names:
                    aleator.sample(name, dist.Normal(0.0, 1.0))

    return run


@check(34, group="F")
def mismatch_errors(subject: Subject) -> None:
    """A site that one of the programs lacks, or whose shape differs, is a ``ModelGuideMismatchError`` by name."""

    def vector(length: int) -> Program:
        return lambda: aleator.sample("wide", dist.Normal(torch.zeros(length), 1.0).to_event(1))

    cases: dict[str, tuple[Program, Program, str]] = {
        "a latent site that the guide lacks": (normal("z", "forgotten"), normal("z"), "forgotten"),
        "a guide site that the model lacks": (normal("z"), normal("z", "stray"), "stray"),
        "a site with other plates": (normal("wide", size=3), normal("wide"), "wide"),
        "a vector where a number is drawn": (vector(3), normal("wide"), "wide"),
        "a vector of another length": (vector(3), vector(1), "wide"),
    }
    for what, (model, guide, name) in cases.items():
        _require_refused(subject, what, model, guide, ModelGuideMismatchError, repr(name))


@check(35, group="F")
def unsupported_is_loud(subject: Subject) -> None:
    """What ``capabilities`` does not declare raises ``UnsupportedModelError`` with the site and the capability."""

    def marked(infer: dict[str, Any], discrete: bool = False) -> Program:
        def guide() -> None:
            fn = dist.Bernoulli(torch.tensor(0.4)) if discrete else dist.Normal(0.3, 1.0)
            aleator.sample("marked", fn, infer=infer)

        return guide

    continuous = normal("marked")

    def discrete() -> None:
        aleator.sample("marked", dist.Bernoulli(torch.tensor(0.5)))

    _require_refused(
        subject, "an unknown gradient rule", continuous, marked({"gradient": "no-such-rule"}), named="marked"
    )
    for rule in ("score", "stl", "dreg", "vimco"):
        if rule not in subject.capabilities.gradient_rules:
            _require_refused(subject, f"the rule {rule!r}", continuous, marked({"gradient": rule}), named="marked")
    if not subject.supports("enumeration"):
        asking = marked({"enumerate": "parallel"}, discrete=True)
        _require_refused(subject, "enumeration", discrete, asking, named="marked")
    if not subject.supports("non_reparam"):
        _require_refused(subject, "a draw without a path", discrete, marked({}, discrete=True), named="marked")
    elif "pathwise" in subject.capabilities.gradient_rules:
        asking = marked({"gradient": "pathwise"}, discrete=True)
        _require_refused(subject, "'pathwise' for a draw without a path", discrete, asking, named="marked")


def _require_refused(
    subject: Subject,
    what: str,
    model: Program,
    guide: Program,
    error_type: type[Exception] = UnsupportedModelError,
    named: str = "",
) -> None:
    try:
        with ParamStore():
            found = subject.make().estimate(model, guide).loss.item()
    except error_type as error:
        if named not in str(error):
            raise CheckFailure(f"{what}: the error does not name {named!r}: {error}") from error
        return
    except Exception as error:
        raise CheckFailure(f"{what}: expected {error_type.__name__}, found {type(error).__name__}: {error}") from error
    raise CheckFailure(f"{what}: expected {error_type.__name__} that names {named!r}, but got the loss {found}")


@check(36, group="F")
def nan_and_inf_reported(subject: Subject) -> None:
    """A NaN is not swallowed, and is traced to its site; an impossible observation makes the loss infinite, not NaN."""

    def observing(log_likelihood: float) -> Program:
        def model() -> None:
            aleator.sample("z", dist.Normal(0.0, 1.0))
            aleator.factor("culprit", torch.tensor(log_likelihood))

        return model

    def guide() -> None:
        aleator.sample("z", dist.Normal(aleator.param("loc", torch.tensor(0.3)), 1.0))

    with validation_enabled(False):
        try:
            with ParamStore():
                estimate = subject.make().estimate(observing(math.nan), guide)
        except ValueError as error:
            if "culprit" not in str(error):
                raise CheckFailure(f"a NaN at the site 'culprit' raised, but without its name: {error}") from error
        else:
            if not estimate.loss.isnan():
                raise CheckFailure(f"the site 'culprit' adds NaN, but the loss is {estimate.loss.item()}")
            if estimate.aux and not estimate.aux.get("elbo/culprit", torch.tensor(0.0)).isnan():
                raise CheckFailure("the site 'culprit' adds NaN, but its term among the diagnostics is another number")
        with ParamStore() as store:
            estimate = subject.make().estimate(observing(-math.inf), guide)
            if not estimate.loss.item() == math.inf:
                raise CheckFailure(f"an impossible observation makes the loss {estimate.loss.item()}, expected inf")
            (gradient,) = torch.autograd.grad(estimate.surrogate, store.unconstrained("loc"))
            if gradient.isnan().any() and subject.capabilities.bound == "elbo":
                raise CheckFailure("an impossible observation turns the gradient of the guide into NaN")


@check(34, group="F")
def masked_infinity_is_no_number(subject: Subject) -> None:
    """An infinite or undefined term that a mask leaves out touches neither value nor gradient."""
    mask = torch.tensor([True, False])

    def model() -> None:
        with aleator.plate("data", 2), handlers.mask(mask=mask):
            z = aleator.sample("z", dist.Normal(0.0, 1.0))
            aleator.factor("edge", torch.where(mask, z, torch.tensor(-math.inf)))

    def guide() -> None:
        loc = aleator.param("locs", torch.tensor([0.3, 0.2]))
        with aleator.plate("data", 2), handlers.mask(mask=mask):
            aleator.sample("z", dist.Normal(loc, 1.0))

    with ParamStore() as store:
        estimate = subject.make().estimate(model, guide)
        if not estimate.loss.isfinite():
            raise CheckFailure(f"the masked element makes the loss {estimate.loss.item()}")
        (gradient,) = torch.autograd.grad(estimate.surrogate, store.unconstrained("locs"))
        if not gradient.isfinite().all():
            raise CheckFailure(f"the masked element makes the gradient {gradient.tolist()}")


CHECKS: tuple[Check, ...] = (
    mismatch_errors,
    unsupported_is_loud,
    nan_and_inf_reported,
    masked_infinity_is_no_number,
)
