"""An optimizer with a schedule on it: in both forms, with parameters that join, and in Pyro's spelling."""

import copy
import pickle

import pytest
import torch

from aleator import optim


def run(optimizer, epochs, in_place, names=("a",)):
    params = {name: torch.zeros(()) for name in names}
    state = optimizer.init(params)
    for _ in range(epochs):
        grads = {name: torch.ones(()) for name in names}
        if in_place:
            optimizer.update_(grads, state, params)
        else:
            params, state = optimizer.update(grads, state, params)
        state = optimizer.scheduler_step(state)
    return {name: value.item() for name, value in params.items()}


@pytest.mark.parametrize("in_place", [False, True])
def test_steps_use_the_epochs_rate(in_place):
    halving = optim.Scheduled(optim.SGD(lr=1.0), optim.ExponentialLR(0.5))
    assert run(halving, 4, in_place) == {"a": -(1 + 0.5 + 0.25 + 0.125)}


@pytest.mark.parametrize("in_place", [False, True])
def test_each_set_of_options_has_its_own_base_rate(in_place):
    rates = {"a": 1.0, "b": 0.5, "c": 1.0}
    halving = optim.Scheduled(optim.SGD(lambda name: {"lr": rates[name]}), optim.ExponentialLR(0.5))
    assert run(halving, 3, in_place, names=("a", "b", "c")) == {"a": -1.75, "b": -0.875, "c": -1.75}


def test_epochs_move_by_scheduler_step_alone_and_leave_the_old_state_as_it_was():
    halving = optim.Scheduled(optim.Adam(lr=1.0), optim.ExponentialLR(0.5))
    params = {"a": torch.zeros(())}
    state = halving.init(params)
    for _ in range(3):
        params, state = halving.update({"a": torch.ones(())}, state, params)
    assert state.schedule["epoch"].item() == 0
    before = copy.deepcopy(state)
    later = halving.scheduler_step(state)
    assert later.schedule["epoch"].item() == 1
    assert halving.learning_rate(later, "a").item() == 0.5
    assert halving.learning_rate(state, "a").item() == halving.learning_rate(before, "a").item() == 1.0
    assert state.schedule["epoch"].item() == 0


@pytest.mark.parametrize("inner", [optim.SGD, optim.NAdam, optim.LBFGS], ids=["SGD", "NAdam", "LBFGS"])
def test_a_parameter_that_joins_late_takes_the_epochs_rate(inner):
    halving = optim.Scheduled(inner(lr=1.0), optim.ExponentialLR(0.5))
    first = {"a": torch.zeros((), requires_grad=True)}
    state = halving.scheduler_step(halving.scheduler_step(halving.init(first)))
    both = {**first, "b": torch.zeros((), requires_grad=True)}
    state = halving.join(state, both)
    assert halving.learning_rate(state, "a").item() == halving.learning_rate(state, "b").item() == 0.25
    state = halving.scheduler_step(state)
    assert halving.learning_rate(state, "b").item() == 0.125
    assert all(group["lr"] == 0.125 for run in state.eager for group in run.param_groups)


def test_a_run_that_begins_without_parameters():
    halving = optim.Scheduled(optim.SGD(lr=1.0), optim.ExponentialLR(0.5))
    state = halving.scheduler_step(halving.init({}))
    state = halving.scheduler_step(halving.join(state, {"a": torch.zeros(())}))
    assert halving.learning_rate(state, "a").item() == 0.5


@pytest.mark.parametrize("name", ["Adamax", "ASGD", "NAdam"])
def test_schedules_reach_the_optimizers_of_torch(name):
    leaf = torch.tensor(1.0, requires_grad=True)
    reference = getattr(torch.optim, name)([leaf], lr=0.1)
    schedule = torch.optim.lr_scheduler.StepLR(reference, 2, 0.5)
    scheduled = optim.Scheduled(getattr(optim, name)(lr=0.1), optim.StepLR(2, 0.5))
    params = {"a": torch.tensor(1.0, requires_grad=True)}
    state = scheduled.init(params)
    for _ in range(7):
        leaf.grad = torch.tensor(0.7)
        reference.step()
        schedule.step()
        scheduled.update_({"a": torch.tensor(0.7)}, state, params)
        state = scheduled.scheduler_step(state)
    assert torch.equal(params["a"], leaf)


@pytest.mark.parametrize(
    "optimizer", [optim.Adam, torch.optim.Adam, torch.optim.Adamax, optim.Adamax], ids=["ours", "torch", "Max", "Max'"]
)
def test_pyros_form(optimizer):
    arguments = {"optimizer": optimizer, "optim_args": {"lr": 0.01}, "gamma": 0.1}
    scheduled = optim.ExponentialLR(arguments, {"clip_norm": 10.0})
    assert isinstance(scheduled, optim.Scheduled)
    assert scheduled.schedule == optim.ExponentialLR(gamma=0.1)
    assert scheduled.has_pure_form == (optimizer in (optim.Adam, torch.optim.Adam))
    assert scheduled.optimizer.clip_args == optim.GradientClip(clip_norm=10.0)
    assert arguments == {"optimizer": optimizer, "optim_args": {"lr": 0.01}, "gamma": 0.1}
    state = scheduled.init({"a": torch.zeros((), requires_grad=True)})
    assert scheduled.learning_rate(scheduled.scheduler_step(state), "a").item() == pytest.approx(0.001)


def test_pyros_form_of_several_arguments():
    scheduled = optim.ReduceLROnPlateau(
        {"optimizer": torch.optim.SGD, "optim_args": lambda name: {"lr": 0.5}, "patience": 3, "mode": "max"}
    )
    assert scheduled.schedule == optim.ReduceLROnPlateau(patience=3, mode="max")
    assert scheduled.optimizer.options_for("a").lr == 0.5


def test_what_is_wrong_with_a_schedule_is_said():
    with pytest.raises(TypeError, match="ExponentialLR: the dict must name an 'optimizer'"):
        optim.ExponentialLR({"gamma": 0.1})
    with pytest.raises(TypeError, match="ExponentialLR has no option 'gama'; did you mean 'gamma'"):
        optim.ExponentialLR({"optimizer": optim.Adam, "optim_args": {}, "gama": 0.1})
    with pytest.raises(TypeError, match="the options of Adam are fixed"):
        optim.ExponentialLR({"optimizer": optim.Adam(), "optim_args": {}, "gamma": 0.1})
    of_torch = torch.optim.lr_scheduler.StepLR(torch.optim.SGD([torch.zeros((), requires_grad=True)]), 2)
    with pytest.raises(TypeError, match=r"expected a schedule of aleator.optim.*found .*StepLR"):
        optim.Scheduled(optim.Adam(), of_torch)
    with pytest.raises(TypeError, match=r"ExponentialLR\(Adam\) has a schedule already"):
        optim.Scheduled(optim.Scheduled(optim.Adam(), optim.ExponentialLR(0.9)), optim.ExponentialLR(0.9))


def test_without_a_schedule_an_epoch_changes_nothing():
    adam = optim.Adam()
    state = adam.init({"a": torch.zeros(())})
    assert adam.scheduler_step(state) is state


def test_schedules_and_scheduled_optimizers_are_values():
    scheduled = optim.Scheduled(optim.Adam(lr=0.1), optim.ExponentialLR(0.9))
    assert scheduled == optim.ExponentialLR({"optimizer": optim.Adam, "optim_args": {"lr": 0.1}, "gamma": 0.9})
    assert pickle.loads(pickle.dumps(scheduled)) == scheduled
    assert copy.deepcopy(scheduled.schedule) == optim.ExponentialLR(0.9)
    with pytest.raises(AttributeError):
        scheduled.schedule.gamma = 0.5
