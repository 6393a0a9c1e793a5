"""Group B: an estimator is a frozen configuration that one may copy, share and use anywhere."""

from __future__ import annotations

import copy
import pickle
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

import aleator
import aleator.distributions as dist
from aleator import ParamStore, get_param_store
from aleator_testing.check import Check, CheckFailure, check

if TYPE_CHECKING:
    from aleator.infer import AbstractEstimator
    from aleator_testing.subject import Subject

__all__ = ["CHECKS", "flat_programs", "plated_programs"]

Programs = tuple[Callable[..., Any], Callable[..., Any]]
DATA = torch.tensor([0.5, -1.0, 2.0])


def flat_programs() -> Programs:
    """Return a pair with one latent site and one parameter, without plates."""

    def model() -> None:
        z = aleator.sample("z", dist.Normal(0.0, 1.0))
        aleator.sample("x", dist.Normal(z, 0.5), obs=DATA[0])

    def guide() -> None:
        aleator.sample("z", dist.Normal(aleator.param("loc", torch.tensor(0.3)), 1.0))

    return model, guide


def plated_programs() -> Programs:
    """Return a pair with a latent site per datum, and a plate."""

    def model() -> None:
        with aleator.plate("data", 3):
            z = aleator.sample("z", dist.Normal(0.0, 1.0))
            aleator.sample("x", dist.Normal(z, 0.5), obs=DATA)

    def guide() -> None:
        loc = aleator.param("locs", torch.tensor([0.3, 0.1, -0.2]))
        with aleator.plate("data", 3):
            aleator.sample("z", dist.Normal(loc, 1.0))

    return model, guide


@check(6, group="B", cost="no estimate")
def constructor_is_pure(subject: Subject) -> None:
    """Making an estimator stores its arguments as they are, refuses unknown ones, and touches nothing else."""
    before = torch.random.get_rng_state()
    estimator = subject.make()
    if not torch.equal(before, torch.random.get_rng_state()):
        raise CheckFailure(f"making {subject.name} drew random numbers")
    if len(get_param_store()):
        raise CheckFailure(f"making {subject.name} put {sorted(get_param_store())} into the parameter store")
    if subject.accepts("num_particles"):
        found = getattr(subject.make(num_particles=3), "num_particles", None)
        if found != 3:
            raise CheckFailure(f"{subject.name}(num_particles=3) has num_particles {found!r}")
    try:
        subject.make(no_such_argument_of_any_estimator=1)
    except TypeError:
        pass
    else:
        raise CheckFailure(f"{subject.name} takes an unknown argument without a word: a misspelt option would be lost")
    if state_of(estimator) != state_of(subject.make()):
        raise CheckFailure(f"two objects made by {subject.name} in the same way differ")


@check(7, group="B")
def frozen_and_unmutated(subject: Subject) -> None:
    """Attributes cannot be set, and using the estimator on two models leaves them as they were."""
    estimator = subject.make()
    before = state_of(estimator)
    for model, guide in (flat_programs(), plated_programs(), flat_programs()):
        estimator.estimate(model, guide)
        estimator.loss_and_grads(model, guide)
    after = state_of(estimator)
    if after != before:
        changed = sorted(key for key in {*before, *after} if before.get(key) != after.get(key))
        raise CheckFailure(
            f"using {subject.name} changed its {', '.join(changed)}; what a run finds out lives in the run"
        )
    for name in before or {"num_particles": ""}:
        value = getattr(estimator, name, 1)
        try:
            setattr(estimator, name, value)
        except (AttributeError, TypeError):
            continue
        raise CheckFailure(f"{subject.name}.{name} can be set after construction; make the class a frozen dataclass")


@check(8, group="B")
def pickle_deepcopy_repr(subject: Subject) -> None:
    """A pickled and a deep copy give the same estimate under one seed, and the text names the class."""
    estimator = subject.make()
    model, guide = plated_programs()
    expected = seeded_loss(estimator, model, guide)
    copies = {"pickle": pickle.loads(pickle.dumps(estimator)), "deepcopy": copy.deepcopy(estimator)}
    for how, twin in copies.items():
        found = seeded_loss(twin, model, guide)
        if not torch.equal(found, expected):
            raise CheckFailure(f"a {how} of {subject.name} estimates {found.item()}, the original {expected.item()}")
    if type(estimator).__name__ not in repr(estimator):
        raise CheckFailure(f"repr is {estimator!r}; it should name {type(estimator).__name__} and its arguments")


@check(9, group="B")
def reuse_across_models(subject: Subject) -> None:
    """One object on two models in turn gives what two objects give."""
    pairs = [flat_programs(), plated_programs()]
    options: list[dict[str, Any]] = [{}]
    if subject.supports("vectorized_particles") and subject.accepts("vectorize_particles"):
        options.append({"num_particles": 2, "vectorize_particles": True})
    for option in options:
        shared = subject.make(**option)
        for turn in range(2):
            for model, guide in pairs:
                found = seeded_loss(shared, model, guide)
                alone = seeded_loss(subject.make(**option), model, guide)
                if not torch.equal(found, alone):
                    raise CheckFailure(
                        f"{shared!r} used on two models in turn gives {found.item()} in round {turn + 1}, a new one "
                        f"{alone.item()}; something of the first model stayed in it"
                    )


def seeded_loss(estimator: AbstractEstimator, model: Callable[..., Any], guide: Callable[..., Any]) -> Tensor:
    """The loss of one estimate, in a store of its own, under a fixed seed."""
    with ParamStore(), aleator.rng(7):
        return estimator.estimate(model, guide).loss


def state_of(estimator: AbstractEstimator) -> dict[str, str]:
    """What an object holds, in words; a tensor by its numbers."""
    slots = [name for each in type(estimator).__mro__ for name in getattr(each, "__slots__", ())]
    held = {name: getattr(estimator, name) for name in slots if hasattr(estimator, name)}
    held |= getattr(estimator, "__dict__", {})
    return {name: repr(value.tolist() if isinstance(value, Tensor) else value) for name, value in held.items()}


CHECKS: tuple[Check, ...] = (constructor_is_pure, frozen_and_unmutated, pickle_deepcopy_repr, reuse_across_models)
