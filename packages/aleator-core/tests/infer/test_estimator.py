"""The views of an estimator that are written once over ``estimate``."""

from __future__ import annotations

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator.infer import AbstractEstimator, Capabilities, Estimate
from aleator.runtime import RUN, STACK


def model(data):
    z = aleator.sample("z", dist.Normal(0.0, 1.0))
    aleator.sample("x", dist.Normal(z, 1.0), obs=data)


def guide(data):
    aleator.sample("z", dist.Normal(aleator.param("loc", torch.tensor(0.5)), 1.0))


DATA = torch.tensor(2.0)


def test_views_agree_in_value_and_gradient(one_sample, store):
    """SEMANTICS 5: ``differentiable_loss`` has the loss as its value and the surrogate's gradient as its gradient."""
    losses, gradients = [], []
    for view in ("loss", "differentiable_loss", "loss_and_grads"):
        aleator.set_rng_seed(3)
        result = getattr(one_sample, view)(model, guide, DATA)
        leaf = store.unconstrained("loc")
        if view == "differentiable_loss":
            gradients.append(torch.autograd.grad(result, leaf)[0])
            result = result.detach()
        elif view == "loss_and_grads":
            gradients.append(leaf.grad)
        losses.append(float(result))
    assert losses[0] == losses[1] == losses[2]
    assert torch.equal(*gradients)


def test_gradient_is_the_surrogates_and_value_the_losses(store):
    class Twofold(AbstractEstimator):
        capabilities = Capabilities()

        def estimate(self, model, guide, /, *args, **kwargs):
            p = aleator.param("p", torch.tensor(2.0))
            return Estimate(torch.tensor(10.0), 7.0 * p)

    loss = Twofold().differentiable_loss(None, None)
    loss.backward()
    assert float(loss.detach()) == 10.0
    assert store.unconstrained("p").grad == 7.0


def test_infinite_surrogate_does_not_make_the_value_nan():
    class Infinite(AbstractEstimator):
        capabilities = Capabilities()

        def estimate(self, model, guide, /, *args, **kwargs):
            p = aleator.param("p", torch.tensor(1.0))
            return Estimate(torch.tensor(float("inf")), p * float("inf"))

    assert float(Infinite().differentiable_loss(None, None).detach()) == float("inf")


def test_gradients_accumulate_part_by_part(store):
    """SEMANTICS 5."""
    live = []

    class Parts(AbstractEstimator):
        capabilities = Capabilities()

        def estimate(self, model, guide, /, *args, **kwargs):
            raise AssertionError("estimates is there")

        def estimates(self, model, guide, /, *args, **kwargs):
            for weight in (1.0, 10.0):
                live.append(store.unconstrained("p").grad.clone() if "p" in store else None)
                p = aleator.param("p", torch.tensor(1.0))
                yield Estimate(torch.tensor(weight), weight * p)

    assert Parts().loss_and_grads(None, None) == 11.0
    assert live == [None, 1.0], "the first part is differentiated before the second is made"
    assert store.unconstrained("p").grad == 11.0


def test_no_grad_and_inference_mode(one_sample):
    aleator.set_rng_seed(0)
    expected = one_sample.loss(model, guide, DATA)
    for mode in (torch.no_grad, torch.inference_mode):
        aleator.set_rng_seed(0)
        with mode():
            assert one_sample.loss(model, guide, DATA) == expected


def test_programs_without_parameters(one_sample):
    program = lambda: aleator.sample("z", dist.Normal(0.0, 1.0))  # noqa: E731  # one line says it
    assert one_sample.loss_and_grads(program, program) == 0.0


def test_stack_and_run_are_clean_after_success_and_after_an_exception(one_sample):
    """SEMANTICS 76."""

    def broken(data):
        with aleator.plate("p", 2):
            raise KeyError("inside")

    one_sample.loss(model, guide, DATA)
    with pytest.raises(KeyError):
        one_sample.loss(broken, guide, DATA)
    assert STACK.get() == ()
    assert RUN.get() is None


def test_abstract_without_estimate():
    class Nothing(AbstractEstimator):
        capabilities = Capabilities()

    with pytest.raises(TypeError, match="estimate"):
        Nothing()
