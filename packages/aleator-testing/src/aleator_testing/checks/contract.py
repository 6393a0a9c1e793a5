"""Group C: what ``estimate`` returns, what it leaves alone, and what it leaves behind."""

from __future__ import annotations

import math
from itertools import product
from typing import TYPE_CHECKING

import torch
from torch import Tensor

import aleator
import aleator.distributions as dist
from aleator import ParamStore, get_param_store
from aleator.infer import Estimate
from aleator_testing.check import Check, CheckFailure, check
from aleator_testing.checks.objects import Programs, flat_programs, plated_programs, seeded_loss

if TYPE_CHECKING:
    from aleator.infer import AbstractEstimator
    from aleator_testing.subject import Subject

__all__ = ["CHECKS"]


@check(10, group="C")
def returns_estimate(subject: Subject) -> None:
    """Loss and surrogate are finite scalars of the model's dtype and device, the loss detached, diagnostics too."""
    devices = ["cpu", *(["cuda"] if torch.cuda.is_available() else [])]
    for dtype, device in product((torch.float32, torch.float64), devices):
        with ParamStore():
            found = subject.make().estimate(*typed_programs(dtype, device))
        if not isinstance(found, Estimate):
            raise CheckFailure(f"estimate returned {type(found).__name__}, expected an Estimate")
        for name, tensor in (("loss", found.loss), ("surrogate", found.surrogate)):
            if not isinstance(tensor, Tensor) or tensor.shape != () or not tensor.isfinite():
                raise CheckFailure(f"{name} is {tensor!r}, expected a finite scalar tensor")
            if tensor.dtype is not dtype:
                raise CheckFailure(f"{name} has {tensor.dtype} where all of the model is {dtype}")
            if tensor.device.type != device:
                raise CheckFailure(f"{name} is on {tensor.device} where all of the model is on {device}")
        if found.loss.requires_grad or found.loss.grad_fn is not None:
            raise CheckFailure("the loss has a graph; detach it: the gradient is the surrogate's alone")
        if not found.surrogate.requires_grad:
            raise CheckFailure("the surrogate does not depend on the guide's parameter")
        for name, tensor in (*found.aux.items(), *found.updates.items()):
            if not isinstance(tensor, Tensor) or tensor.requires_grad:
                raise CheckFailure(
                    f"{name!r} among the diagnostics or updates is {tensor!r}, expected a detached tensor"
                )


@check(10, group="C")
def arguments_reach_both(subject: Subject) -> None:
    """Positional and keyword arguments reach the model and the guide as they are, in every view of the estimate."""
    seen: list[tuple[str, Tensor, float]] = []

    def model(data: Tensor, *, width: float) -> None:
        seen.append(("model", data, width))
        z = aleator.sample("z", dist.Normal(0.0, 1.0))
        aleator.sample("x", dist.Normal(z, width), obs=data)

    def guide(data: Tensor, *, width: float) -> None:
        seen.append(("guide", data, width))
        aleator.sample("z", dist.Normal(aleator.param("loc", torch.tensor(0.3)), width))

    given = torch.tensor(0.7)
    estimator = subject.make()
    for view in (estimator.estimate, estimator.loss, estimator.differentiable_loss, estimator.loss_and_grads):
        seen.clear()
        view(model, guide, given, width=0.5)
        if {name for name, *_ in seen} != {"model", "guide"}:
            raise CheckFailure(f"{view.__name__} ran {sorted({name for name, *_ in seen})}, expected model and guide")
        for name, data, width in seen:
            if data is not given or width != 0.5:
                raise CheckFailure(f"{view.__name__} gave the {name} other arguments than it was given itself")


@check(10, group="C")
def diagnostics_add_up(subject: Subject) -> None:
    """Terms by site, where an evidence lower bound reports them (``aux["elbo/<site>"]``), sum to the bound."""
    if subject.capabilities.bound != "elbo":
        return
    for options in ({}, {"num_particles": 3} if subject.accepts("num_particles") else {}):
        estimate = subject.make(**options).estimate(*plated_programs())
        terms = {name: value for name, value in estimate.aux.items() if name.startswith("elbo/")}
        total = sum(value.sum().item() for value in terms.values())
        if terms and not math.isclose(total, -estimate.loss.item(), rel_tol=1e-4, abs_tol=1e-5):
            raise CheckFailure(f"the terms of {sorted(terms)} sum to {total}, the bound is {-estimate.loss.item()}")


@check(11, group="C")
def sign_convention(subject: Subject) -> None:
    """Where the guide is the posterior the loss is minus the log evidence, whatever is drawn, for any bound."""
    log_evidence = -1.5

    def model() -> None:
        aleator.sample("z", dist.Normal(0.0, 1.0))
        aleator.factor("evidence", torch.tensor(log_evidence))

    def posterior() -> None:
        aleator.sample("z", dist.Normal(0.0, 1.0))

    def hopeless() -> None:
        aleator.sample("z", dist.Normal(9.0, 0.1))

    estimator = subject.make()
    for seed in range(3):
        loss = seeded(estimator, model, posterior, seed)
        if not torch.allclose(loss, torch.tensor(-log_evidence), atol=1e-5):
            raise CheckFailure(f"the loss is {loss.item():.6f} where -log p(x) is {-log_evidence}")
    wrong = seeded(estimator, model, hopeless, 1)
    if not wrong > -log_evidence:
        raise CheckFailure(f"a hopeless guide has the loss {wrong.item():.3f}, below the posterior's {-log_evidence}")


def seeded(estimator: AbstractEstimator, model: object, guide: object, seed: int) -> Tensor:
    """The loss of one estimate under a seed."""
    with ParamStore(), aleator.rng(seed):
        return estimator.estimate(model, guide).loss  # type: ignore[arg-type]  # programs


@check(12, group="C")
def views_agree(subject: Subject) -> None:
    """All views of an estimate (``loss``, ``differentiable_loss``, ``loss_and_grads``) agree in value and gradient."""
    _require_one_view(subject.make())
    if subject.accepts("num_particles"):  # loss_and_grads may go particle by particle
        _require_one_view(subject.make(num_particles=3))


def _require_one_view(estimator: AbstractEstimator) -> None:
    model, guide = flat_programs()
    with aleator.rng(3):
        estimate = estimator.estimate(model, guide)
    leaf = get_param_store().unconstrained("loc")
    (expected,) = torch.autograd.grad(estimate.surrogate, leaf)
    with aleator.rng(3):
        loss = estimator.loss(model, guide)
    with aleator.rng(3):
        differentiable = estimator.differentiable_loss(model, guide)
    (gradient,) = torch.autograd.grad(differentiable, leaf)
    leaf.grad = None
    with aleator.rng(3):
        stepped = estimator.loss_and_grads(model, guide)
    values = {
        "loss()": loss,
        "differentiable_loss()": differentiable.item(),
        "loss_and_grads()": stepped,
    }
    for name, value in values.items():
        if not math.isclose(value, estimate.loss.item(), rel_tol=1e-5, abs_tol=1e-6):
            raise CheckFailure(
                f"{estimator!r}: {name} is {value}, estimate().loss {estimate.loss.item()} under the same seed"
            )
    for name, found in (("differentiable_loss()", gradient), ("loss_and_grads()", leaf.grad)):
        if found is None or not torch.allclose(found, expected, rtol=1e-5, atol=1e-6):
            raise CheckFailure(f"{estimator!r}: the gradient of {name} is {found}, the surrogate's {expected}")


@check(13, group="C")
def no_grad_safe(subject: Subject) -> None:
    """Under ``no_grad`` and ``inference_mode`` the loss is what it is with gradients."""
    model, guide = plated_programs()
    estimator = subject.make()
    expected = seeded_loss(estimator, model, guide)
    for mode in (torch.no_grad, torch.inference_mode):
        with mode():
            found = seeded_loss(estimator, model, guide)
        if not torch.allclose(found.clone(), expected):
            raise CheckFailure(f"under {mode.__name__} the loss is {found.item()}, with gradients {expected.item()}")


@check(14, group="C")
def gradients_accumulate(subject: Subject) -> None:
    """``loss_and_grads`` adds to ``.grad``, and a second call does not depend on the first."""
    model, guide = flat_programs()
    estimator = subject.make()
    estimator.loss(model, guide)  # the parameter comes to be
    leaf = get_param_store().unconstrained("loc")
    found = []
    for _ in range(2):
        leaf.grad = None
        with aleator.rng(3):
            estimator.loss_and_grads(model, guide)
        found.append(_gradient(leaf))
    if not torch.equal(*found):
        raise CheckFailure(f"the same call under the same seed gave the gradients {found[0]} and {found[1]}")
    with aleator.rng(3):
        estimator.loss_and_grads(model, guide)
    if not torch.allclose(_gradient(leaf), 2.0 * found[0]):
        raise CheckFailure(f"a second call made .grad {leaf.grad}, expected it to add up to {2.0 * found[0]}")


def _gradient(leaf: Tensor) -> Tensor:
    if leaf.grad is None:
        raise CheckFailure("loss_and_grads left .grad of the guide's parameter empty")
    return leaf.grad.clone()


@check(15, group="C")
def deterministic_under_seed(subject: Subject) -> None:
    """One seed gives one estimate, another seed another."""
    model, guide = flat_programs()
    estimator = subject.make()
    first, again = seeded(estimator, model, guide, 1), seeded(estimator, model, guide, 1)
    if not torch.equal(first, again):
        raise CheckFailure(f"seed 1 gave {first.item()} and {again.item()}; draws come from somewhere else")
    others = [seeded(estimator, model, guide, seed) for seed in range(2, 6)]
    if all(torch.equal(first, other) for other in others):
        raise CheckFailure(f"five seeds gave the same loss {first.item()}: nothing is drawn")


@check(16, group="C")
def params_only_via_store(subject: Subject) -> None:
    """An estimate writes nothing: no parameter beside the programs' own, no buffer, no gradient, no changed value."""
    model, guide = flat_programs()
    estimator = subject.make()
    store = get_param_store()
    for _ in range(2):
        estimate = estimator.estimate(model, guide)
        if set(store) != {"loc"}:
            raise CheckFailure(f"the store holds {sorted(store)}, the programs have the parameter 'loc' alone")
        if len(store.buffers):
            raise CheckFailure(f"estimate wrote the buffers {sorted(store.buffers)}; return them in Estimate.updates")
        leaf = store.unconstrained("loc")
        if leaf.grad is not None or leaf.item() != torch.tensor(0.3).item():
            raise CheckFailure("estimate changed the parameter or its .grad; a step does that")
        del estimate

    def fixed() -> None:
        aleator.sample("z", dist.Normal(0.0, 1.0))

    with ParamStore() as empty:
        estimator.loss_and_grads(model, fixed)
        if len(empty):
            raise CheckFailure(f"programs without parameters left {sorted(empty)} in the store")


def typed_programs(dtype: torch.dtype, device: str) -> Programs:
    """A pair whose every number has one dtype and lies on one device."""
    zero, one = torch.zeros((), dtype=dtype, device=device), torch.ones((), dtype=dtype, device=device)

    def model() -> None:
        z = aleator.sample("z", dist.Normal(zero, one))
        aleator.sample("x", dist.Normal(z, one), obs=one)

    def guide() -> None:
        aleator.sample("z", dist.Normal(aleator.param("loc", 0.3 * one), one))

    return model, guide


CHECKS: tuple[Check, ...] = (
    returns_estimate,
    arguments_reach_both,
    diagnostics_add_up,
    sign_convention,
    views_agree,
    no_grad_safe,
    gradients_accumulate,
    deterministic_under_seed,
    params_only_via_store,
)
