"""What SVI takes as loss and optimizer, and what it refuses."""

from __future__ import annotations

import pytest
import torch

import aleator
from aleator.optim import SGD, Adam
from aleator_svi_elbo import SVI, Trace_ELBO
from weighing import GUESS, guide, model, values


def after(optim, loss, steps=5, **keywords):
    """Losses and parameters after a few steps under one seed."""
    with aleator.ParamStore() as store:
        svi = SVI(model, guide, optim, loss, rng=0, progress=False, **keywords)
        losses = [svi.step(GUESS) for _ in range(steps)]
        return losses, values(store)


def by_hand(model, guide, *args):
    return Trace_ELBO().differentiable_loss(model, guide, *args)


def grads_by_hand(model, guide, *args):
    loss = Trace_ELBO().differentiable_loss(model, guide, *args)
    loss.backward()
    return float(loss.detach())


@pytest.mark.parametrize(
    ("loss", "keywords"),
    [
        ("Trace_ELBO", {}),
        ("ELBO", {}),
        (by_hand, {}),
        (by_hand, {"loss_and_grads": grads_by_hand}),
        (Trace_ELBO().loss, {"loss_and_grads": Trace_ELBO().loss_and_grads}),
        (Trace_ELBO().differentiable_loss, {}),
    ],
    ids=["name", "front-door", "callable", "with-grads", "bound-methods", "bound-method"],
)
def test_every_form_of_loss_gives_the_same_steps(loss, keywords):
    expected = after(Adam(lr=0.1), Trace_ELBO())
    losses, parameters = after(Adam(lr=0.1), loss, **keywords)
    assert losses == pytest.approx(expected[0], rel=1e-6)
    torch.testing.assert_close(parameters, expected[1])


def test_evaluate_loss_takes_every_form_and_changes_nothing():
    for loss in (Trace_ELBO(), "Trace_ELBO", by_hand, Trace_ELBO().loss):
        with aleator.ParamStore() as store:
            svi = SVI(model, guide, Adam(lr=0.1), loss, rng=0, progress=False)
            first = svi.evaluate_loss(GUESS)
            assert isinstance(first, float)
            torch.testing.assert_close(values(store), {"loc": GUESS, "scale": torch.tensor(0.0)})
            assert svi.steps_taken == 0


def test_a_callable_without_gradient_needs_loss_and_grads():
    with aleator.ParamStore():
        svi = SVI(model, guide, Adam(lr=0.1), Trace_ELBO().loss, progress=False)
        with pytest.raises(TypeError, match=r"returned float, which has no gradient.*loss_and_grads="):
            svi.step(GUESS)
        svi = SVI(model, guide, Adam(lr=0.1), lambda *args: torch.zeros(2), progress=False)
        with pytest.raises(ValueError, match=r"must return a scalar, but has shape \(2,\)"):
            svi.step(GUESS)


def test_a_loss_and_grads_that_raises_leaves_no_gradient_behind():
    """Half of a gradient would join that of the next step."""
    broken = [True]

    def loss_and_grads(model, guide, *args):
        value = grads_by_hand(model, guide, *args)
        if broken[0]:
            raise RuntimeError("interrupted")
        return value

    def steps(svi):
        return [svi.step(GUESS) for _ in range(3)]

    with aleator.ParamStore() as store:
        svi = SVI(model, guide, SGD(lr=0.01), by_hand, loss_and_grads, rng=0, progress=False)
        with pytest.raises(RuntimeError, match="interrupted"):
            svi.step(GUESS)
        assert all(leaf.grad is None for _, leaf in store.named_parameters())
        assert svi.steps_taken == 0
        broken[0] = False
        steps(svi)
        assert svi.steps_taken == 3


@pytest.mark.parametrize(
    "optim",
    [torch.optim.SGD, lambda parameters: torch.optim.SGD(parameters, lr=1e-3)],
    ids=["class", "factory"],
)
def test_torch_optimizers_take_the_same_steps(optim):
    expected = after(SGD(lr=1e-3), Trace_ELBO())
    losses, parameters = after(optim, Trace_ELBO())
    assert losses == pytest.approx(expected[0], rel=1e-6)
    torch.testing.assert_close(parameters, expected[1])


@pytest.mark.parametrize("optim", [Trace_ELBO(), Trace_ELBO, "Trace_ELBO"])
def test_a_loss_in_place_of_the_optimizer(optim):
    with pytest.raises(TypeError, match=r"found a loss \(Trace_ELBO\) where the optimizer belongs"):
        SVI(model, guide, optim, Adam(lr=0.1))


@pytest.mark.parametrize("loss", [Adam(lr=0.1), Adam, torch.optim.Adam])
def test_an_optimizer_in_place_of_the_loss(loss):
    with pytest.raises(TypeError, match=r"found an optimizer \(Adam\) where the loss belongs"):
        SVI(model, guide, Adam(lr=0.1), loss)


def test_what_is_no_loss_or_optimizer():
    with pytest.raises(TypeError, match=r"found the class Trace_ELBO; write Trace_ELBO\(\)"):
        SVI(model, guide, Adam(lr=0.1), Trace_ELBO)
    with pytest.raises(TypeError, match=r"expects as loss an estimator.*but found int"):
        SVI(model, guide, Adam(lr=0.1), 3)
    with pytest.raises(LookupError, match="nobody/Nothing"):
        SVI(model, guide, Adam(lr=0.1), "nobody/Nothing")
    with pytest.raises(TypeError, match="loss_and_grads, but found int"):
        SVI(model, guide, Adam(lr=0.1), by_hand, 3)
    with pytest.raises(TypeError, match="expected an optimizer"):
        SVI(model, guide, 3, Trace_ELBO())
    with pytest.raises(TypeError, match="a callable as model, but found int"):
        SVI(3, guide, Adam(lr=0.1), Trace_ELBO())
    with pytest.raises(TypeError, match="a callable as guide, but found NoneType"):
        SVI(model, None, Adam(lr=0.1), Trace_ELBO())
    with pytest.raises(TypeError, match="a callable as callback, but found int"):
        SVI(model, guide, Adam(lr=0.1), Trace_ELBO(), callback=3)
    with pytest.raises(TypeError, match="an EarlyStopping, but found int"):
        SVI(model, guide, Adam(lr=0.1), Trace_ELBO(), early_stopping=3)
    with pytest.raises(TypeError, match="expected a schedule"):
        SVI(model, guide, Adam(lr=0.1), Trace_ELBO(), scheduler=3)


def test_unknown_keywords_and_bad_counts_raise():
    with pytest.raises(TypeError, match="num_stepz"):
        SVI(model, guide, Adam(lr=0.1), Trace_ELBO(), num_stepz=3)
    for keywords, message in (
        ({"num_steps": -1}, "num_steps must be an int of at least 0"),
        ({"num_samples": 1.5}, "num_samples must be an int of at least 0"),
        ({"num_steps": True}, "num_steps must be an int of at least 0"),
        ({"callback_every": 0}, "callback_every must be an int of at least 1"),
    ):
        with pytest.raises(ValueError, match=message):
            SVI(model, guide, Adam(lr=0.1), Trace_ELBO(), **keywords)


def test_positions_are_those_of_the_contract():
    svi = SVI(model, guide, Adam(lr=0.1), by_hand, grads_by_hand, 3, 4, progress=False)
    assert (svi.loss_and_grads, svi.num_samples, svi.num_steps) == (grads_by_hand, 3, 4)
