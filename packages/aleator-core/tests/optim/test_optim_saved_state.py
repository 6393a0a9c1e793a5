"""States written down and read back: training continues bit for bit, and what does not fit is said."""

import copy
import io

import pytest
import torch

from aleator import optim
from aleator.errors import CheckpointError

HALVING = optim.ExponentialLR(0.9)
EVERY = [
    optim.Adam(lr=0.1, amsgrad=True),
    optim.Adam(lambda name: {"lr": 0.1 if name == "a" else 0.2}),
    optim.AdamW(lr=torch.tensor(0.1)),
    optim.ClippedAdam(lr=0.1, lrd=0.9),
    optim.SGD(lr=0.1, momentum=0.9, dampening=0.1),
    optim.RMSprop(lr=0.1, centered=True, momentum=0.5),
    optim.Adagrad(lr=0.1, lr_decay=0.1),
    optim.NAdam(lr=0.1),
    optim.NAdam(lambda name: {"lr": 0.1 if name == "a" else 0.2}),
    optim.Rprop(lr=0.1),
    optim.Adafactor(lr=0.1),
    optim.as_optimizer(torch.optim.Adam),
    optim.as_optimizer(lambda params: torch.optim.SGD(params, lr=0.1, momentum=0.9)),
    optim.Scheduled(optim.Adam(lr=0.1), HALVING),
    optim.Scheduled(optim.Adam(lambda name: {"lr": 0.1 if name == "a" else 0.2}), HALVING),
    optim.Scheduled(optim.NAdam(lr=0.1), HALVING),
    optim.Scheduled(optim.SGD(lr=0.1), optim.ReduceLROnPlateau(patience=1, cooldown=1)),
    optim.Scheduled(optim.SGD(lr=0.1), optim.MultiplicativeLR(lambda epoch: 0.9)),
]


def names(configuration):
    return configuration.name


def start():
    return {"a": torch.tensor([1.0, -2.0], requires_grad=True), "b": torch.tensor([[0.5]], requires_grad=True)}


def train(configuration, state, params, steps, first=0):
    for step in range(first, first + steps):
        generator = torch.Generator().manual_seed(step)
        grads = {name: torch.randn(value.shape, generator=generator) for name, value in params.items()}
        configuration.update_(grads, state, params)
        state = configuration.scheduler_step(state, torch.tensor(1.0))
    return state


def through_a_file(payload):
    file = io.BytesIO()
    torch.save(payload, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


def copied(params):
    return {name: value.detach().clone().requires_grad_() for name, value in params.items()}


@pytest.mark.parametrize("configuration", EVERY, ids=names)
def test_a_restored_run_continues_bit_for_bit(configuration):
    params = start()
    state = train(configuration, configuration.init(params), params, 10)
    payload, saved = configuration.state_to_payload(state), copied(params)
    train(configuration, state, params, 10, first=10)
    restored = configuration.state_from_payload(through_a_file(payload), saved)
    train(configuration, restored, saved, 10, first=10)
    for name, value in params.items():
        assert torch.equal(saved[name], value), name


def closure_over(params):
    def closure():
        loss = (1 - params["a"][0]) ** 2 + 100 * ((params["a"] - params["b"]) ** 2).sum()
        return loss, dict(zip(params, torch.autograd.grad(loss, params.values()), strict=True))

    return closure


def test_lbfgs_continues_bit_for_bit():
    lbfgs, params = optim.LBFGS(lr=0.1, max_iter=3), start()
    state = lbfgs.init(params)
    for _ in range(3):
        lbfgs.update_({}, state, params, closure=closure_over(params))
    payload, saved = lbfgs.state_to_payload(state), copied(params)
    restored = lbfgs.state_from_payload(through_a_file(payload), saved)
    for _ in range(3):
        lbfgs.update_({}, state, params, closure=closure_over(params))
        lbfgs.update_({}, restored, saved, closure=closure_over(saved))
    assert all(torch.equal(saved[name], value) for name, value in params.items())


@pytest.mark.parametrize("configuration", EVERY, ids=names)
def test_a_run_that_has_not_begun_can_be_saved(configuration):
    payload = through_a_file(configuration.state_to_payload(configuration.init({})))
    params = start()
    state = configuration.join(configuration.state_from_payload(payload, params), params)
    other = start()
    train(configuration, state, params, 3)
    train(configuration, configuration.init(other), other, 3)
    assert all(torch.equal(params[name], value) for name, value in other.items())


@pytest.mark.parametrize("configuration", EVERY, ids=names)
def test_a_payload_does_not_follow_the_run(configuration):
    params = start()
    state = train(configuration, configuration.init(params), params, 2)
    payload = configuration.state_to_payload(state)
    before = copy.deepcopy(payload)
    train(configuration, state, params, 2)
    restored = configuration.state_from_payload(payload, copied(params))
    train(configuration, restored, copied(params), 1)
    assert str(payload) == str(before)


def test_a_saved_rate_wins_over_the_configured_one():
    saved = optim.Adam(lr=0.5).state_to_payload(optim.Adam(lr=0.5).init(start()))
    other = optim.Adam(lr=0.1)
    assert other.learning_rate(other.state_from_payload(saved, start()), "b").item() == 0.5


def broken(change):
    payload = optim.Adam(lr=0.1).state_to_payload(optim.Adam(lr=0.1).init(start()))
    change(payload)
    return payload


@pytest.mark.parametrize(
    ("payload", "message"),
    [
        ([], "expected a dict, found list"),
        ({}, "this version reads format 1, found None"),
        (broken(lambda p: p.update(format=99)), "reads format 1, found 99"),
        (broken(lambda p: p.update(optimizer="SGD")), "it was written by 'SGD'"),
        (broken(lambda p: p.pop("slots")), "expected parameter names, found NoneType"),
        (broken(lambda p: p["slots"].update(zzz={})), "the run has no parameter 'zzz'"),
        (broken(lambda p: p["slots"].update(a=3)), "the entry of parameter 'a' must be a dict of tensors"),
        (
            broken(lambda p: p["slots"]["a"].pop("exp_avg")),
            r"parameter 'a' must hold \['exp_avg', 'exp_avg_sq', 'step'",
        ),
        (
            broken(lambda p: p["slots"]["a"].update(exp_avg=torch.zeros(3))),
            r"parameter 'a'\['exp_avg'\] must be torch.float32 of shape \(2,\), found torch.float32 of shape \(3",
        ),
        (broken(lambda p: p["slots"]["a"].update(step=torch.zeros((), dtype=torch.int64))), "found torch.int64"),
        (broken(lambda p: p.update(learning_rates={})), "no learning rate for the options of parameter 'a'"),
        (broken(lambda p: p.update(learning_rates=None)), "learning_rates must be a dict of tensors"),
        (
            broken(lambda p: p.update(learning_rates={"zzz": torch.zeros(())})),
            r"learning_rates\['zzz'\] is not the rate",
        ),
    ],
)
def test_what_does_not_fit_is_said(payload, message):
    with pytest.raises(CheckpointError, match=r"the saved optimizer state does not fit Adam: .*" + message):
        optim.Adam(lr=0.1).state_from_payload(payload, start())


def test_a_state_of_other_options_does_not_fit():
    plain = optim.Adam(lr=0.1).state_to_payload(optim.Adam(lr=0.1).init(start()))
    with pytest.raises(CheckpointError, match=r"must hold .*'max_exp_avg_sq'"):
        optim.Adam(lr=0.1, amsgrad=True).state_from_payload(plain, start())
    split = optim.Adam(lambda name: {"lr": 0.1 if name == "a" else 0.2})
    with pytest.raises(CheckpointError, match="no learning rate for the options of parameter 'b'"):
        split.state_from_payload(plain, start())
    with pytest.raises(CheckpointError, match=r"does not fit ExponentialLR\(Adam\): it was written by 'Adam'"):
        optim.Scheduled(optim.Adam(lr=0.1), HALVING).state_from_payload(plain, start())
    plateau = optim.Scheduled(optim.Adam(lr=0.1), optim.ReduceLROnPlateau())
    payload = {**plateau.state_to_payload(plateau.init(start())), "schedule": {}}
    with pytest.raises(CheckpointError, match="schedule must hold"):
        plateau.state_from_payload(payload, start())


def test_a_state_of_torchs_that_does_not_fit():
    nadam = optim.NAdam(lr=0.1)
    params = start()
    payload = nadam.state_to_payload(train(nadam, nadam.init(params), params, 2))
    with pytest.raises(
        CheckpointError, match=r"NAdam: parameter 'a' is torch.float32 \(3,\), it was \['torch.float32', 2"
    ):
        nadam.state_from_payload(payload, {"a": torch.zeros(3), "b": torch.zeros(1, 1)})
    with pytest.raises(CheckpointError, match="NAdam: the run has no parameter 'b'"):
        nadam.state_from_payload(payload, {"a": torch.zeros(2)})
    for bad in ({}, {"state": 3, "param_groups": []}, None, {"state": {}, "param_groups": [{"params": [0, 1]}]}):
        with pytest.raises(CheckpointError, match="torch says"):
            nadam.state_from_payload({**payload, "torch": bad}, start())
    with pytest.raises(CheckpointError, match="groups must be lists"):
        nadam.state_from_payload({**payload, "groups": "ab"}, start())
