"""Options that are wrong are refused when they become known, with the optimizer's name and what would be right."""

import functools

import pytest
import torch

from aleator import optim

PURE = ["Adam", "AdamW", "ClippedAdam", "SGD", "RMSprop", "Adagrad"]
ALL = [*PURE, "Adamax", "NAdam", "Rprop", "LBFGS", "Adadelta", "ASGD", "RAdam"]


@pytest.mark.parametrize("name", ALL)
def test_unknown_options_name_the_optimizer(name):
    with pytest.raises(TypeError, match=rf"{name} has no option 'zzz'; it takes .*lr"):
        getattr(optim, name)({"zzz": 1})


@pytest.mark.parametrize("name", ["Adam", "ClippedAdam", "NAdam"])
def test_a_misspelt_option_gets_the_nearest_one(name):
    with pytest.raises(TypeError, match=rf"{name} has no option 'beta'; did you mean 'betas'\?"):
        getattr(optim, name)(beta=(0.9, 0.99))


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("lr", [-0.1, float("nan"), float("inf"), torch.tensor(-1.0)])
def test_impossible_learning_rates(name, lr):
    with pytest.raises(ValueError, match=rf"{name}: lr must be finite and at least 0, found"):
        getattr(optim, name)(lr=lr)


def test_learning_rates_that_are_no_numbers():
    with pytest.raises(TypeError, match="Adam: lr must be a number, found str"):
        optim.Adam(lr="0.1")
    with pytest.raises(ValueError, match=r"Adam: lr must have one element, found a tensor of shape \(2,\)"):
        optim.Adam(lr=torch.ones(2))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: optim.Adam(betas=(0.9, 1.0)), r"Adam: betas must lie in \[0, 1\)"),
        (lambda: optim.AdamW(betas=0.9), "AdamW: betas must be a pair of numbers"),
        (lambda: optim.Adam(eps=-1.0), "Adam: eps must be finite and at least 0"),
        (lambda: optim.ClippedAdam(lrd=0), "ClippedAdam: lrd must be positive"),
        (lambda: optim.ClippedAdam(clip_norm=-1.0), "ClippedAdam: clip_norm must be at least 0"),
        (lambda: optim.SGD(nesterov=True), "SGD: nesterov=True takes a momentum above 0"),
        (lambda: optim.SGD(nesterov=True, momentum=0.9, dampening=0.1), "SGD: nesterov=True"),
        (lambda: optim.SGD(momentum=-0.9), "SGD: momentum must be"),
        (lambda: optim.RMSprop(alpha=-0.1), "RMSprop: alpha must be"),
        (lambda: optim.Adagrad(lr_decay=-0.1), "Adagrad: lr_decay must be"),
    ],
)
def test_values_out_of_range(make, message):
    with pytest.raises(ValueError, match=message):
        make()


@pytest.mark.parametrize("switch", ["foreach", "fused", "capturable", "differentiable"])
def test_switches_of_torchs_kernels_are_explained(switch):
    with pytest.raises(TypeError, match=rf"Adam: '{switch}' selects a kernel of torch.optim; .* Leave the option out"):
        optim.Adam({"lr": 0.1, switch: True})


def test_the_forms_of_options_agree():
    assert optim.Adam({"lr": 0.1}).options == optim.Adam(lr=0.1).options == optim.Adam(None, lr=0.1).options
    assert optim.Adam(lambda name: {"lr": 0.1}).options_for("a") == optim.Adam(lr=0.1).options
    assert optim.Adam().options == optim.Adam({}).options


@pytest.mark.parametrize("name", ["Adam", "NAdam"])
def test_what_is_no_form_of_options(name):
    make = getattr(optim, name)
    with pytest.raises(TypeError, match=f"{name} takes its options as one dict or callable, or as keywords, not both"):
        make({"lr": 0.1}, betas=(0.5, 0.5))
    with pytest.raises(TypeError, match=rf"{name} takes a dict of options.*found float.*write {name}\("):
        make(0.1)
    with pytest.raises(TypeError, match=r"found generator\. The parameters themselves are found by the run"):
        make((p for p in [torch.zeros(1)]), lr=0.1)


@pytest.mark.parametrize("name", ["Adam", "NAdam"])
def test_options_by_name_are_checked_with_the_parameters_name(name):
    params = {"loc": torch.zeros(1, requires_grad=True)}
    make = getattr(optim, name)
    with pytest.raises(TypeError, match=rf"{name} \(parameter 'loc'\) has no option 'beta'"):
        make(lambda name: {"beta": 1}).init(params)
    with pytest.raises(ValueError, match=rf"{name} \(parameter 'loc'\): lr must be"):
        make(lambda name: {"lr": -1}).init(params)
    with pytest.raises(TypeError, match=rf"{name}: .* must return a dict; for parameter 'loc' it returned float"):
        make(lambda name: 0.1).init(params)


def test_callables_take_the_name_or_pyros_module_and_name():
    def pieces(module, parameter):
        return {"lr": 0.5 if (module, parameter) == ("net", "weight") else 0.25}

    adam = optim.Adam(pieces)
    assert adam.options_for("net$$$weight").lr == 0.5
    assert adam.options_for("loc").lr == 0.25
    named = optim.Adam(functools.partial(lambda name, lr: {"lr": lr}, lr=0.125))
    assert named.options_for("loc").lr == 0.125
    with pytest.raises(TypeError, match="the callable given for options must take the parameter's name; it takes 3"):
        optim.Adam(lambda a, b, c: {})
    with pytest.raises(TypeError, match="it takes 0 arguments"):
        optim.Adam(lambda: {})
