"""The optimizers of torch.optim that have no pure form: one instance per run, steps equal to torch's own."""

import functools

import pytest
import torch

from aleator import optim
from aleator.errors import ParameterError, UnsupportedModelError

NAMES = ["ASGD", "Adadelta", "Adafactor", "Adamax", "NAdam", "RAdam", "Rprop"]


def draw(seed, **shapes):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, generator=generator) for name, shape in shapes.items()}


@pytest.mark.parametrize("name", [*NAMES, "Muon"])
def test_steps_equal_torchs(name):
    shapes = {"a": (2, 3), "b": (4, 2)}
    options = {"lr": 0.1} if name == "Muon" else {"lr": 0.1, "foreach": False}
    ours = {key: value.requires_grad_() for key, value in draw(0, **shapes).items()}
    theirs = {key: value.requires_grad_() for key, value in draw(0, **shapes).items()}
    reference = getattr(torch.optim, name)(theirs.values(), **options)
    optimizer = getattr(optim, name)(lr=0.1)
    state = optimizer.init(ours)
    for step in range(5):
        grads = draw(step + 1, **shapes)
        for key, grad in grads.items():
            theirs[key].grad = grad.clone()
        reference.step()
        optimizer.update_(grads, state, ours)
    for key, expected in theirs.items():
        torch.testing.assert_close(ours[key], expected)
        assert ours[key].grad is None


def test_every_optimizer_of_torch_has_a_configuration_by_its_name():
    for name in torch.optim.__all__:
        thing = getattr(torch.optim, name)
        if isinstance(thing, type) and thing is not torch.optim.Optimizer:
            assert isinstance(getattr(optim, name)(), optim.Optimizer), name
            assert name in dir(optim)
    assert optim.Optimizer is not torch.optim.Optimizer
    with pytest.raises(AttributeError, match="has no attribute 'Adamm'"):
        optim.Adamm  # noqa: B018  # the lookup is what is tested


@pytest.mark.parametrize("optimizer", [optim.NAdam(lr=0.1), optim.as_optimizer(torch.optim.Adam)], ids=lambda o: o.name)
def test_the_pure_form_is_refused_by_name_with_what_to_use(optimizer):
    assert not optimizer.has_pure_form
    params = {"a": torch.zeros((), requires_grad=True)}
    with pytest.raises(UnsupportedModelError, match=rf"{optimizer.name} of torch.optim steps in place.*Adam, AdamW, C"):
        optimizer.update({"a": torch.ones(())}, optimizer.init(params), params)


def test_untouched_parameters_stay_and_gradients_of_leaves_are_left_alone():
    nadam = optim.NAdam(lr=0.1)
    params = {name: torch.ones((), requires_grad=True) for name in "ab"}
    params["b"].grad = torch.tensor(5.0)
    state = nadam.init(params)
    nadam.update_({"a": torch.tensor(1.0)}, state, params)
    assert params["a"].item() != 1.0
    assert params["b"].item() == 1.0
    assert params["b"].grad.item() == 5.0
    assert params["a"].grad is None


@pytest.mark.parametrize("name", [*NAMES, "Adagrad", "SGD"])
def test_late_parameters_join_one_instance_in_groups_of_equal_options(name):
    fast_and_slow = getattr(torch.optim, name)
    configuration = optim.TorchOptimizer(fast_and_slow, lambda name: {"lr": 0.5 if name.startswith("f") else 0.25})
    params = {"f1": torch.ones(2, 2, requires_grad=True)}
    state = configuration.init(params)
    for late in ("s1", "f2", "s2"):
        params[late] = torch.ones(2, 2, requires_grad=True)
        state = configuration.join(state, params)
        configuration.update_({key: torch.ones(2, 2) for key in params}, state, params)
    assert configuration.join(state, params) is state
    (run,) = state.eager
    assert run.groups() == [["f1", "f2"], ["s1", "s2"]]
    assert [group["lr"] for group in run.param_groups] == [0.5, 0.25]
    assert configuration.learning_rate(state, "s2").item() == 0.25
    alone = {"s2": torch.ones(2, 2, requires_grad=True)}
    alone_state = configuration.init(alone)
    configuration.update_({"s2": torch.ones(2, 2)}, alone_state, alone)
    torch.testing.assert_close(params["s2"], alone["s2"])


def test_two_runs_have_two_instances():
    nadam = optim.NAdam(lr=0.1)
    first, second = ({"a": torch.ones((), requires_grad=True)} for _ in range(2))
    states = nadam.init(first), nadam.init(second)
    nadam.update_({"a": torch.tensor(1.0)}, states[0], first)
    assert second["a"].item() == 1.0
    assert states[0].eager[0].optimizer is not states[1].eager[0].optimizer


def test_a_leaf_that_was_replaced_is_followed():
    nadam = optim.NAdam(lr=0.1)
    kept = {"a": torch.ones((), requires_grad=True)}
    replaced = {"a": torch.ones((), requires_grad=True)}
    states = nadam.init(kept), nadam.init(replaced)
    for _ in range(3):
        nadam.update_({"a": torch.tensor(0.3)}, states[0], kept)
        nadam.update_({"a": torch.tensor(0.3)}, states[1], replaced)
        replaced = {"a": replaced["a"].detach().clone().requires_grad_()}
    assert kept["a"].item() == replaced["a"].item()
    assert len(states[1].eager[0].optimizer.state) == 1


def test_factories():
    def sorted_by_size(params):
        small = [p for p in params if p.numel() == 1]
        large = [p for p in params if p.numel() > 1]
        groups = [{"params": part, "lr": lr} for part, lr in ((small, 0.5), (large, 0.25)) if part]
        return torch.optim.SGD(groups)

    configuration = optim.as_optimizer(sorted_by_size)
    params = {"large": torch.zeros(2, requires_grad=True), "small": torch.zeros((), requires_grad=True)}
    state = configuration.init(params)
    params["late"] = torch.zeros(3, requires_grad=True)
    state = configuration.join(state, params)
    configuration.update_({name: torch.ones_like(value) for name, value in params.items()}, state, params)
    assert [value.flatten()[0].item() for value in params.values()] == [-0.25, -0.5, -0.25]
    assert configuration.learning_rate(state, "late").item() == 0.25
    with pytest.raises(TypeError, match=r"factory <lambda> must return a torch.optim optimizer, found list"):
        optim.as_optimizer(lambda params: params).init(params)
    with pytest.raises(TypeError, match="has no option 'lr'"):
        optim.TorchOptimizer(sorted_by_size, lr=0.1)


def rosenbrock(params):
    x, y = params["x"], params["y"]
    return (1 - x) ** 2 + 100 * (y - x**2) ** 2


def closure_over(params):
    def closure():
        loss = rosenbrock(params)
        return loss, dict(zip(params, torch.autograd.grad(loss, params.values()), strict=True))

    return closure


def test_lbfgs_takes_a_closure_and_equals_torchs():
    start = {"x": -1.2, "y": 1.0}
    ours = {name: torch.tensor(value, dtype=torch.float64, requires_grad=True) for name, value in start.items()}
    theirs = {name: torch.tensor(value, dtype=torch.float64, requires_grad=True) for name, value in start.items()}
    reference = torch.optim.LBFGS(theirs.values(), line_search_fn="strong_wolfe")
    lbfgs = optim.LBFGS(line_search_fn="strong_wolfe")
    assert lbfgs.requires_closure
    assert not optim.NAdam().requires_closure
    state = lbfgs.init(ours)

    def closure():
        reference.zero_grad()
        loss = rosenbrock(theirs)
        loss.backward()
        return loss

    for _ in range(3):
        reference.step(closure)
        lbfgs.update_({}, state, ours, closure=closure_over(ours))
    for name, expected in theirs.items():
        assert torch.equal(ours[name], expected)
        assert ours[name].item() == pytest.approx(1.0, abs=1e-4)


def test_lbfgs_refuses_what_it_cannot_do():
    params = {name: torch.zeros((), requires_grad=True) for name in "xy"}
    lbfgs = optim.LBFGS()
    with pytest.raises(ValueError, match="LBFGS evaluates the loss several times a step: update_ needs a closure"):
        lbfgs.update_({"x": torch.ones(())}, lbfgs.init(params), params)
    with pytest.raises(ValueError, match="LBFGS takes one set of options for all parameters, found 2"):
        optim.LBFGS(lambda name: {"lr": 1.0 if name == "x" else 0.5}).init(params)


def test_lbfgs_begins_anew_when_a_parameter_joins():
    params = {"x": torch.tensor(-1.2, requires_grad=True)}
    lbfgs = optim.LBFGS(lr=0.5)
    state = lbfgs.init(params)

    def quadratic():
        loss = sum((value - 3.0) ** 2 for value in params.values())
        return loss, dict(zip(params, torch.autograd.grad(loss, params.values()), strict=True))

    lbfgs.update_({}, state, params, closure=quadratic)
    params["y"] = torch.tensor(5.0, requires_grad=True)
    state = lbfgs.join(state, params)
    for _ in range(3):
        lbfgs.update_({}, state, params, closure=quadratic)
    assert [value.item() for value in params.values()] == pytest.approx([3.0, 3.0], abs=1e-4)


def test_gradients_that_do_not_fit_are_refused_before_the_step():
    nadam = optim.NAdam()
    params = {name: torch.zeros((), requires_grad=True) for name in "ab"}
    state = nadam.init({"a": params["a"]})
    with pytest.raises(ParameterError, match="NAdam: parameter 'b' never joined the state"):
        nadam.update_({"a": torch.ones(()), "b": torch.ones(())}, state, params)
    with pytest.raises(ParameterError, match=r"NAdam: the gradient of parameter 'a' must have shape \(\)"):
        nadam.update_({"a": torch.ones(2)}, state, params)
    assert params["a"].item() == 0.0


def test_partials_of_a_class_are_its_options():
    partial = functools.partial(torch.optim.Adamax, lr=0.5)
    assert optim.as_optimizer(partial) == optim.Adamax(lr=0.5)
    with pytest.raises(TypeError, match="Adamax has no option 'betta'; did you mean 'betas'"):
        optim.as_optimizer(functools.partial(torch.optim.Adamax, betta=0.5))


class Plain(torch.optim.Optimizer):
    """A user's own optimizer, whose options have no learning rate."""

    def __init__(self, tensors, **defaults):
        super().__init__(tensors, defaults)

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for param in group["params"]:
                param -= group["pace"] * param.grad


def test_an_optimizer_of_ones_own_needs_no_learning_rate():
    plain = optim.TorchOptimizer(Plain, pace=0.5)
    params = {"a": torch.zeros((), requires_grad=True)}
    state = plain.init(params)
    plain.update_({"a": torch.ones(())}, state, params)
    assert params["a"].item() == -0.5
    with pytest.raises(ParameterError, match="options of parameter 'a' have no learning rate"):
        plain.learning_rate(state, "a")
