"""Group G: steps, wrappers and what an estimate costs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor

import aleator
import aleator.distributions as dist
from aleator import ParamStore, get_param_store, infer
from aleator.infer import pure_step
from aleator.optim import SGD
from aleator_testing.check import Check, CheckFailure, NotApplicable, check
from aleator_testing.checks.objects import flat_programs, plated_programs

if TYPE_CHECKING:
    from aleator.infer import AbstractEstimator
    from aleator_testing.subject import Subject

__all__ = ["CHECKS"]


@check(38, group="G")
def pure_step_equals_gradients(subject: Subject) -> None:
    """A step as a pure function is the optimizer's update by the gradient of ``loss_and_grads``, and writes nothing."""
    model, guide = flat_programs()
    estimator = subject.make()
    estimator.loss(model, guide)
    leaf = get_param_store().unconstrained("loc")
    params = {"loc": leaf.detach().clone()}
    optimizer = SGD(lr=0.1)  # not Adam: its first step has one size, whatever the gradient's
    step = pure_step(estimator, optimizer, model, guide)
    with aleator.rng(5):
        updated, *_, loss = step(params, optimizer.init(params), {}, ())
    if leaf.item() != params["loc"].item() or leaf.grad is not None:
        raise CheckFailure("the pure step changed the store's own parameter")
    with aleator.rng(5):
        expected_loss = estimator.loss_and_grads(model, guide)
    if leaf.grad is None or abs(loss.item() - expected_loss) > 1e-5:
        raise CheckFailure(f"the pure step's loss is {loss.item()}, that of loss_and_grads {expected_loss}")
    expected, _ = optimizer.update({"loc": leaf.grad}, optimizer.init(params), params)
    if not torch.allclose(updated["loc"], expected["loc"], atol=1e-6):
        raise CheckFailure(f"the pure step gives loc = {updated['loc']}, expected {expected['loc']}")


@check(37, group="G", requires=("compilable",), cost="a capture")
def captured_equals_eager(subject: Subject) -> None:
    """A step captured as a graph over its inputs gives on other inputs what the eager step gives, for two models."""
    from torch.fx.experimental.proxy_tensor import make_fx

    optimizer = SGD(lr=0.1)
    for model, guide in (_on_data(2.0), _on_data(-1.0)):
        step = pure_step(subject.make(), optimizer, model, guide)
        params = {"loc": torch.tensor(0.3)}
        state = optimizer.init(params)
        first, second = torch.tensor([0.5, -1.0]), torch.tensor([2.0, 0.25])
        step(params, state, {}, (first,))  # what is looked up once is looked up here
        graph = make_fx(step)(params, state, {}, (first,))
        for data in (first, second):
            # A graph draws from the process's stream, whatever stood around its capture.
            aleator.set_rng_seed(3)
            expected = step(params, state, {}, (data,))
            aleator.set_rng_seed(3)
            found = graph(params, state, {}, (data,))
            for name, left, right in (("loss", found[-1], expected[-1]), ("loc", found[0]["loc"], expected[0]["loc"])):
                if not torch.allclose(left, right, atol=1e-6):
                    raise CheckFailure(f"the captured step's {name} is {left.item()}, the eager one's {right.item()}")


def _on_data(factor: float) -> tuple[Callable[..., Any], Callable[..., Any]]:
    def model(data: Tensor) -> None:
        z = aleator.sample("z", dist.Normal(torch.zeros(()), torch.ones(())))
        with aleator.plate("data", 2):
            aleator.sample("x", dist.Normal(factor * z, torch.ones(())), obs=data)

    def guide(data: Tensor) -> None:
        aleator.sample("z", dist.Normal(aleator.param("loc", torch.tensor(0.3)), torch.ones(())))

    return model, guide


@check(37, group="G", requires=("compilable",), cost="a compilation")
def compile_equals_eager(subject: Subject) -> None:
    """``infer.compile`` of the estimator gives its value and gradient; a second model is not served the first one's."""
    if not infer.is_available("compile"):
        raise NotApplicable("aleator-jit-estimators is not installed")
    wrapped = infer.__getattr__("compile")(subject.make(), backend="eager")
    for model, guide in (flat_programs(), plated_programs(), flat_programs()):
        for _ in range(2):
            left, right = _value_and_gradient(wrapped, model, guide), _value_and_gradient(subject.make(), model, guide)
            if not torch.allclose(left, right, atol=1e-5):
                raise CheckFailure(f"compiled: loss and gradients {left.tolist()}, eager {right.tolist()}")


def _value_and_gradient(estimator: AbstractEstimator, model: Callable[..., Any], guide: Callable[..., Any]) -> Tensor:
    with ParamStore() as store, aleator.rng(9):
        loss = estimator.loss_and_grads(model, guide)
        grads = [leaf.grad.flatten() for _, leaf in store.named_parameters() if leaf.grad is not None]
        return torch.cat([torch.tensor([loss]), *grads])


@check(38, group="G")
def functional_equals_stateful(subject: Subject) -> None:
    """The functional SVI, which owns its state, takes the pure step, and one state always gives one result."""
    if not infer.is_available("functional"):
        raise NotApplicable("aleator-svi-elbo with its functional SVI is not installed")
    functional: Any = infer.__getattr__("functional")
    model, guide = flat_programs()
    optimizer = SGD(lr=0.1)
    svi = functional.SVI(model, guide, subject.make(), optimizer)
    state, _ = svi.init(4)
    (_, first), (_, again) = svi.update(state), svi.update(state)
    if not torch.equal(first, again):
        raise CheckFailure(f"one state gave the losses {first.item()} and {again.item()}")
    certain = functional.SVI(model, _without_draws, subject.make(), optimizer)  # whoever draws: the numbers are one
    state, _ = certain.init(4)
    params = {"loc": certain.get_params(state)["loc"].detach()}
    state, loss = certain.update(state)
    found = {"loss": loss, "loc": certain.get_params(state)["loc"]}
    step = pure_step(subject.make(), optimizer, model, _without_draws)
    expected, *_, expected_loss = step(params, optimizer.init(params), {}, ())
    for name, truth in (("loss", expected_loss), ("loc", expected["loc"])):
        if not torch.allclose(found[name], truth, atol=1e-6):
            raise CheckFailure(f"the functional SVI's {name} is {found[name].item()}, the pure step's {truth.item()}")
    if len(get_param_store()):
        raise CheckFailure("the functional SVI wrote into the ambient parameter store")


def _without_draws() -> None:
    aleator.sample("z", dist.Delta(aleator.param("loc", torch.tensor(0.3))))


@check(40, group="G")
def overhead(subject: Subject) -> None:
    """Once warm, a particle runs each program once and scores each site once; vectorized particles share one run."""
    particles = 3 if subject.accepts("num_particles") else 1
    ways: list[tuple[dict[str, Any], int]] = [({"num_particles": 3} if particles == 3 else {}, particles)]
    if particles == 3 and subject.supports("vectorized_particles") and subject.accepts("vectorize_particles"):
        ways.append(({"num_particles": 3, "vectorize_particles": True}, 1))
    for options, runs in ways:
        calls: Counter[str] = Counter()
        estimator = subject.make(**options)
        model, guide = _counted(calls)
        for _ in range(2):
            estimator.estimate(model, guide)
        calls.clear()
        estimator.estimate(model, guide)
        allowed = {"model": runs, "guide": runs, "log_prob of x in the model": runs}
        for what, most in allowed.items():
            if not 1 <= calls[what] <= most:
                raise CheckFailure(f"{estimator!r}: {what} ran {calls[what]} times in an estimate, expected {most}")
        for side in ("model", "guide"):
            if calls[f"log_prob of z in the {side}"] > runs:
                found = calls[f"log_prob of z in the {side}"]
                raise CheckFailure(f"{estimator!r}: z was scored {found} times in the {side}, expected {runs}")


def _counted(calls: Counter[str]) -> tuple[Callable[..., Any], Callable[..., Any]]:
    def counted(what: str) -> type[torch.distributions.Normal]:
        @final
        class Counted(torch.distributions.Normal):  # the plain one: ours is final
            def log_prob(self, value: Tensor) -> Tensor:
                calls[f"log_prob of {what}"] += 1
                scored: Tensor = super().log_prob(value)  # type: ignore[no-untyped-call]  # torch's
                return scored

        return Counted

    prior, likelihood, q = counted("z in the model"), counted("x in the model"), counted("z in the guide")

    def model() -> None:
        calls["model"] += 1
        z = aleator.sample("z", prior(0.0, 1.0))
        aleator.sample("x", likelihood(z, 0.5), obs=torch.tensor(0.5))

    def guide() -> None:
        calls["guide"] += 1
        aleator.sample("z", q(aleator.param("loc", torch.tensor(0.3)), 1.0))

    return model, guide


CHECKS: tuple[Check, ...] = (
    captured_equals_eager,
    compile_equals_eager,
    pure_step_equals_gradients,
    functional_equals_stateful,
    overhead,
)
