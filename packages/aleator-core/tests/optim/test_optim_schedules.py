"""Learning rates of every schedule against torch.optim.lr_scheduler over fifty epochs and more."""

import pytest
import torch

from aleator import optim

EPOCHS = 60
CASES = [
    ("ExponentialLR", {"gamma": 0.9}),
    ("StepLR", {"step_size": 7, "gamma": 0.5}),
    ("StepLR", {"step_size": 1}),
    ("MultiStepLR", {"milestones": [30, 3, 10, 10], "gamma": 0.5}),
    ("ConstantLR", {}),
    ("ConstantLR", {"factor": 0.5, "total_iters": 20}),
    ("LinearLR", {}),
    ("LinearLR", {"start_factor": 0.9, "end_factor": 0.1, "total_iters": 33}),
    ("PolynomialLR", {"total_iters": 40, "power": 2.0}),
    ("PolynomialLR", {}),
    ("CosineAnnealingLR", {"T_max": 20, "eta_min": 0.01}),
    ("CosineAnnealingLR", {"T_max": 7}),
    ("CosineAnnealingWarmRestarts", {"T_0": 9, "eta_min": 0.01}),
    ("CosineAnnealingWarmRestarts", {"T_0": 1, "T_mult": 2}),
    ("CosineAnnealingWarmRestarts", {"T_0": 4, "T_mult": 3}),
    ("LambdaLR", {"lr_lambda": lambda epoch: 0.95**epoch}),
    ("LambdaLR", {"lr_lambda": lambda epoch: 1.0 if epoch < 10 else 0.1}),
    ("MultiplicativeLR", {"lr_lambda": lambda epoch: 0.95 if epoch % 2 == 0 else 1.0}),
    ("OneCycleLR", {"max_lr": 0.7, "total_steps": 61, "cycle_momentum": False}),
    ("OneCycleLR", {"max_lr": 0.7, "epochs": 7, "steps_per_epoch": 10, "three_phase": True, "cycle_momentum": False}),
    (
        "OneCycleLR",
        {"max_lr": 0.7, "total_steps": 80, "pct_start": 0.4, "anneal_strategy": "linear", "cycle_momentum": False},
    ),
    ("CyclicLR", {"base_lr": 0.1, "max_lr": 0.6, "step_size_up": 7, "cycle_momentum": False}),
    (
        "CyclicLR",
        {
            "base_lr": 0.1,
            "max_lr": 0.6,
            "step_size_up": 4,
            "step_size_down": 9,
            "mode": "triangular2",
            "cycle_momentum": False,
        },
    ),
    (
        "CyclicLR",
        {
            "base_lr": 0.1,
            "max_lr": 0.6,
            "step_size_up": 5,
            "mode": "exp_range",
            "gamma": 0.97,
            "cycle_momentum": False,
        },
    ),
]


def torch_rates(make, epochs=EPOCHS, losses=None):
    leaf = torch.zeros((), requires_grad=True)
    optimizer = torch.optim.SGD([leaf], lr=0.3)
    schedule = make(optimizer)
    rates = [optimizer.param_groups[0]["lr"]]
    for epoch in range(epochs):
        optimizer.step()
        schedule.step(*(() if losses is None else (losses[epoch],)))
        rates.append(optimizer.param_groups[0]["lr"])
    return rates


def our_rates(schedule, epochs=EPOCHS, losses=None, optimizer=None):
    scheduled = optim.Scheduled(optimizer or optim.SGD(lr=0.3), schedule)
    state = scheduled.init({"a": torch.zeros((), requires_grad=True)})
    rates = [scheduled.learning_rate(state, "a").item()]
    for epoch in range(epochs):
        state = scheduled.scheduler_step(state, None if losses is None else torch.tensor(losses[epoch]))
        rates.append(scheduled.learning_rate(state, "a").item())
    return rates


@pytest.mark.parametrize(("name", "arguments"), CASES)
def test_learning_rates_equal_torchs(name, arguments):
    expected = torch_rates(lambda optimizer: getattr(torch.optim.lr_scheduler, name)(optimizer, **arguments))
    found = our_rates(getattr(optim, name)(**arguments))
    assert found == pytest.approx(expected, rel=1e-11, abs=1e-15)
    assert len(set(found)) > 1


def test_a_schedule_that_counts_epochs_from_one_would_be_caught():
    expected = torch_rates(lambda optimizer: torch.optim.lr_scheduler.ExponentialLR(optimizer, 0.9))
    assert our_rates(optim.ExponentialLR(0.9))[1:] != pytest.approx(expected[:-1], rel=1e-11)


@pytest.mark.parametrize(
    "arguments",
    [
        {"patience": 2},
        {"patience": 0, "factor": 0.5, "cooldown": 3},
        {"patience": 1, "threshold": 0.3, "threshold_mode": "abs"},
        {"patience": 1, "threshold": 0.3, "threshold_mode": "rel"},
        {"patience": 2, "mode": "max", "threshold": 0.05},
        {"patience": 2, "mode": "max", "threshold": 0.1, "threshold_mode": "abs"},
        {"patience": 0, "min_lr": 0.01},
        {"patience": 0, "eps": 0.001, "factor": 0.7},
    ],
)
@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_reduction_on_a_plateau_equals_torchs(arguments, sign):
    generator = torch.Generator().manual_seed(1)
    losses = [sign * (3.0 / (1 + epoch) + 0.2 * torch.rand((), generator=generator).item()) for epoch in range(EPOCHS)]
    losses[20] = float("nan")
    expected = torch_rates(lambda o: torch.optim.lr_scheduler.ReduceLROnPlateau(o, **arguments), losses=losses)
    found = our_rates(optim.ReduceLROnPlateau(**arguments), losses=losses)
    assert found == pytest.approx(expected, rel=1e-6)
    assert len(set(found)) > 1


def test_reduction_on_a_plateau_needs_the_loss():
    plateau = optim.Scheduled(optim.SGD(lr=1.0), optim.ReduceLROnPlateau())
    assert plateau.schedule.requires_loss
    state = plateau.init({"a": torch.zeros(())})
    with pytest.raises(ValueError, match=r"ReduceLROnPlateau decides by the loss: call scheduler_step\(state, loss\)"):
        plateau.scheduler_step(state)


@pytest.mark.filterwarnings("ignore:.*lr_scheduler.step:UserWarning")
def test_schedules_one_after_the_other_equal_torchs():
    def by_torch(optimizer):
        scheduler = torch.optim.lr_scheduler
        parts = [
            scheduler.LinearLR(optimizer, 0.1, total_iters=5),
            scheduler.ExponentialLR(optimizer, 0.9),
            scheduler.ConstantLR(optimizer, 0.5, total_iters=4),
        ]
        return scheduler.SequentialLR(optimizer, parts, milestones=[5, 20])

    parts = [optim.LinearLR(0.1, total_iters=5), optim.ExponentialLR(0.9), optim.ConstantLR(0.5, total_iters=4)]
    found = our_rates(optim.SequentialLR(parts, milestones=[5, 20]))
    assert found == pytest.approx(torch_rates(by_torch), rel=1e-11)


def test_chained_schedules_equal_torchs():
    def by_torch(optimizer):
        scheduler = torch.optim.lr_scheduler
        return scheduler.ChainedScheduler(
            [scheduler.ConstantLR(optimizer, 0.1, total_iters=20), scheduler.ExponentialLR(optimizer, 0.9)]
        )

    chained = optim.ChainedScheduler([optim.ConstantLR(0.1, total_iters=20), optim.ExponentialLR(0.9)])
    assert our_rates(chained) == pytest.approx(torch_rates(by_torch), rel=1e-11)


def test_after_its_cycle_the_rate_stays_at_its_lowest():
    found = our_rates(optim.OneCycleLR(max_lr=1.0, total_steps=10), epochs=20)
    assert found[9:] == pytest.approx([1.0 / 25 / 1e4] * 12)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: optim.StepLR(0), ValueError, "StepLR: step_size must be an integer above 0"),
        (lambda: optim.ConstantLR(2.0), ValueError, r"ConstantLR: factor must lie in \[0, 1\]"),
        (lambda: optim.LinearLR(-1.0), ValueError, "LinearLR: start_factor must lie"),
        (lambda: optim.LinearLR(total_iters=0), ValueError, "LinearLR: total_iters must be"),
        (lambda: optim.CosineAnnealingWarmRestarts(T_0=4, T_mult=0), ValueError, "T_mult must be an integer above 0"),
        (lambda: optim.LambdaLR([lambda epoch: 1.0]), TypeError, "LambdaLR: lr_lambda must be one function"),
        (lambda: optim.OneCycleLR(1.0), ValueError, "OneCycleLR takes total_steps, or epochs and steps_per_epoch"),
        (lambda: optim.OneCycleLR(1.0, total_steps=5, cycle_momentum=True), ValueError, "momentum and betas are fixed"),
        (lambda: optim.OneCycleLR(1.0, total_steps=5, anneal_strategy="sin"), ValueError, "anneal_strategy must be"),
        (lambda: optim.CyclicLR(0.1, 1.0, mode="square"), ValueError, "CyclicLR: mode must be"),
        (lambda: optim.ReduceLROnPlateau(factor=1.0), ValueError, "ReduceLROnPlateau: factor must lie in"),
        (lambda: optim.ReduceLROnPlateau(min_lr=[0.1]), TypeError, "min_lr must be one number"),
        (lambda: optim.SequentialLR([optim.StepLR(1)], [3]), ValueError, "1 schedulers need 0 milestones, found 1"),
        (
            lambda: optim.SequentialLR([optim.StepLR(1), optim.ReduceLROnPlateau()], [3]),
            TypeError,
            "SequentialLR combines schedules that are a function of the epoch; found ReduceLROnPlateau",
        ),
        (lambda: optim.ChainedScheduler([]), TypeError, "ChainedScheduler: schedulers must be a list"),
    ],
)
def test_arguments_out_of_range_name_the_schedule(make, error, message):
    with pytest.raises(error, match=message):
        make()
