"""What may stand in an optimizer's place, and what is said about the rest."""

import functools

import pytest
import torch

from aleator import optim


class Loss:
    def __call__(self, model, guide):
        return 0.0


def loss_function(model, guide, *args, **kwargs):
    return 0.0


@pytest.mark.parametrize("thing", [optim.Adam(), optim.NAdam(), optim.Scheduled(optim.Adam(), optim.StepLR(3))])
def test_configurations_pass_through(thing):
    assert optim.as_optimizer(thing) is thing


@pytest.mark.parametrize(
    ("thing", "name"),
    [
        (torch.optim.Adam, "Adam"),
        (torch.optim.LBFGS, "LBFGS"),
        (functools.partial(torch.optim.SGD, lr=0.1), "SGD"),
        (lambda params: torch.optim.SGD(params, lr=0.1), "<lambda>"),
        (functools.partial(lambda params, lr: torch.optim.SGD(params, lr=lr), lr=0.1), "partial"),
    ],
)
def test_classes_and_factories_of_torch_step_eagerly(thing, name):
    optimizer = optim.as_optimizer(thing)
    assert isinstance(optimizer, optim.TorchOptimizer)
    assert optimizer.name == name
    if not optimizer.requires_closure:
        params = {"a": torch.zeros((), requires_grad=True)}
        optimizer.update_({"a": torch.ones(())}, optimizer.init(params), params)
        assert params["a"].item() < 0


@pytest.mark.parametrize(
    ("thing", "found"),
    [
        (Loss(), r"found an instance of .*Loss$"),
        (Loss, r"found the class .*Loss$"),
        (loss_function, "found the function loss_function, which does not take one list of parameters"),
        (None, "found an instance of builtins.NoneType"),
        (0.01, "found an instance of builtins.float"),
        (optim.Adam, r"found Adam itself; call it: Adam\(\{'lr': 1e-3\}\)"),
        (optim.NAdam, r"found NAdam itself; call it: NAdam\("),
        (optim.ExponentialLR(0.9), "found an instance of aleator.optim.epoch_schedules.ExponentialLR"),
        (torch.optim.Adam([torch.zeros(1, requires_grad=True)]), "bound to its own parameters; pass its class"),
    ],
)
def test_anything_else_is_refused_with_what_was_expected_and_found(thing, found):
    with pytest.raises(TypeError, match=r"expected an optimizer of aleator\.optim, such as Adam\(.*" + found):
        optim.as_optimizer(thing)
