"""What every pure optimizer does with parameters that come, stay away, or are laid out in unusual ways."""

import copy
import pickle

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from aleator import optim
from aleator.errors import ParameterError

PURE = [
    optim.Adam(lr=0.1, amsgrad=True),
    optim.AdamW(lr=0.1),
    optim.ClippedAdam(lr=0.1, lrd=0.9),
    optim.SGD(lr=0.1, momentum=0.9, dampening=0.5),
    optim.SGD(lr=0.1, momentum=0.9),
    optim.RMSprop(lr=0.1, momentum=0.5),
    optim.Adagrad(lr=0.1, lr_decay=0.1),
]


def leaves(**values):
    return {name: torch.tensor(value, requires_grad=True) for name, value in values.items()}


def snapshot(tree):
    return copy.deepcopy({key: {k: v.detach() for k, v in slots.items()} for key, slots in tree.items()})


def assert_same(first, second):
    assert first.keys() == second.keys()
    for key, value in first.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, second[key]), key
        else:
            assert_same(value, second[key])


@pytest.mark.parametrize("optimizer", PURE, ids=lambda o: o.name)
def test_update_changes_nothing_that_it_was_given(optimizer):
    params = {"a": torch.tensor([1.0, 2.0]), "b": torch.tensor(3.0)}
    grads = {"a": torch.tensor([0.5, -1.0]), "b": torch.tensor(2.0)}
    state = optimizer.init(params)
    before = copy.deepcopy((params, grads, state))
    new_params, new_state = optimizer.update(grads, state, params)
    assert_same(before[0], params)
    assert_same(before[1], grads)
    assert_same(before[2].slots, state.slots)
    assert_same(before[2].learning_rates, state.learning_rates)
    assert all(not torch.equal(new_params[name], params[name]) for name in params)
    assert all(new_state.slots[name]["step"].item() == 1 for name in params)
    assert type(new_state) is type(state)


@pytest.mark.parametrize("optimizer", PURE, ids=lambda o: o.name)
def test_update_builds_no_graph_on_leaves(optimizer):
    params = leaves(a=1.0)
    new_params, new_state = optimizer.update({"a": torch.tensor(2.0)}, optimizer.init(params), params)
    assert not new_params["a"].requires_grad
    assert not any(value.requires_grad for value in new_state.slots["a"].values())


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("optimizer", PURE, ids=lambda o: o.name)
def test_untouched_parameters_stay_and_so_does_their_step_count(optimizer, in_place):
    params = {"a": torch.tensor(1.0), "b": torch.tensor(1.0), "c": torch.tensor(1.0)}
    state = optimizer.init(params)
    grads = {"a": torch.tensor(2.0), "c": None}
    if in_place:
        optimizer.update_(grads, state, params)
    else:
        params, state = optimizer.update(grads, state, params)
    assert params["a"].item() != 1.0
    assert params["b"].item() == params["c"].item() == 1.0
    assert [state.slots[name]["step"].item() for name in "abc"] == [1.0, 0.0, 0.0]
    assert list(params) == ["a", "b", "c"]


@pytest.mark.parametrize("optimizer", PURE, ids=lambda o: o.name)
def test_a_parameter_that_joins_late_steps_as_if_the_run_began_with_it(optimizer):
    params = {"a": torch.tensor(1.0)}
    state = optimizer.init(params)
    for _ in range(3):
        params, state = optimizer.update({"a": torch.tensor(2.0)}, state, params)
    params["b"] = torch.tensor(1.0)
    earlier = state
    state = optimizer.join(state, params)
    assert "b" not in earlier.slots
    assert state.slots["a"] is earlier.slots["a"]
    assert optimizer.join(state, params) is state
    alone, alone_state = {"b": torch.tensor(1.0)}, optimizer.init({"b": torch.tensor(1.0)})
    for _ in range(3):
        params, state = optimizer.update({"a": torch.tensor(2.0), "b": torch.tensor(-1.5)}, state, params)
        alone, alone_state = optimizer.update({"b": torch.tensor(-1.5)}, alone_state, alone)
    assert torch.equal(params["b"], alone["b"])
    assert [state.slots[name]["step"].item() for name in "ab"] == [6.0, 3.0]


def test_options_by_name_are_asked_once_and_share_a_learning_rate_where_they_agree():
    asked = []

    def options(name):
        asked.append(name)
        return {"lr": 0.5 if name == "fast" else 0.25}

    sgd = optim.SGD(options)
    params = {name: torch.zeros(()) for name in ("fast", "slow", "slower")}
    state = sgd.init(params)
    grads = {name: torch.ones(()) for name in params}
    for _ in range(2):
        params, state = sgd.update(grads, state, params)
    assert {name: value.item() for name, value in params.items()} == {"fast": -1.0, "slow": -0.5, "slower": -0.5}
    assert sorted(asked) == ["fast", "slow", "slower"]
    assert {name: rate.item() for name, rate in state.learning_rates.items()} == {"fast": 0.5, "slow": 0.25}
    assert sgd.learning_rate(state, "slower").item() == 0.25


def test_one_configuration_serves_runs_whose_parameters_appear_in_different_orders():
    sgd = optim.SGD(lambda name: {"lr": 0.5 if name == "fast" else 0.25})
    for order in (["slow", "slower", "fast"], ["slower", "fast", "slow"], ["fast", "slow"], ["slower"]):
        params = {name: torch.zeros(()) for name in order}
        state = sgd.init({})
        for name in order:
            state = sgd.join(state, {name: params[name]})
        sgd.update_({name: torch.ones(()) for name in order}, state, params)
        assert all(value.item() == (-0.5 if name == "fast" else -0.25) for name, value in params.items())


def test_learning_rates_are_state():
    sgd = optim.SGD(lr=1.0)
    params = {"a": torch.zeros(())}
    state = sgd.with_learning_rates(sgd.init(params), {"a": torch.tensor(0.125, dtype=torch.float64)})
    stepped, _ = sgd.update({"a": torch.ones(())}, state, params)
    sgd.update_({"a": torch.ones(())}, state, params)
    assert stepped["a"].item() == params["a"].item() == -0.125
    assert sgd.learning_rate(sgd.init(params), "a").item() == 1.0


ODD_GRADIENTS = {
    "expanded": torch.tensor(2.0).expand(4, 3),
    "transposed": torch.arange(12.0).reshape(3, 4).t(),
    "strided": torch.arange(24.0).reshape(4, 6)[:, ::2],
}


@pytest.mark.parametrize("kind", ODD_GRADIENTS)
@pytest.mark.parametrize("optimizer", PURE, ids=lambda o: o.name)
def test_gradients_of_any_memory_layout(optimizer, kind):
    """A fused kernel reads memory in order: past the end of an expanded gradient, across a transposed one."""
    grad = ODD_GRADIENTS[kind]
    params = {"a": torch.zeros(4, 3)}
    state = optimizer.init(params)
    expected, _ = optimizer.update({"a": grad.contiguous()}, state, params)
    optimizer.update_({"a": grad}, state, params)
    torch.testing.assert_close(params["a"], expected["a"])


@pytest.mark.parametrize("optimizer", PURE, ids=lambda o: o.name)
def test_parameters_of_any_memory_layout(optimizer):
    leaf = torch.arange(12.0).reshape(3, 4).t().requires_grad_()
    grad = torch.arange(12.0).reshape(4, 3)
    state = optimizer.init({"a": leaf})
    expected, _ = optimizer.update({"a": grad}, state, {"a": leaf.detach().contiguous()})
    optimizer.update_({"a": grad}, state, {"a": leaf})
    torch.testing.assert_close(leaf.detach(), expected["a"])


@pytest.mark.parametrize("optimizer", PURE, ids=lambda o: o.name)
def test_dtypes_may_differ_between_parameters(optimizer):
    params = {"single": torch.zeros(2), "double": torch.zeros(2, dtype=torch.float64), "scalar": torch.zeros(())}
    grads = {name: torch.ones_like(value) for name, value in params.items()}
    state = optimizer.init(params)
    expected, _ = optimizer.update(grads, state, params)
    optimizer.update_(grads, state, params)
    for name, value in params.items():
        assert value.dtype == expected[name].dtype
        torch.testing.assert_close(value, expected[name])


@pytest.mark.parametrize("in_place", [False, True])
def test_a_gradient_of_another_shape_is_refused_and_nothing_moves(in_place):
    adam = optim.Adam()
    params = leaves(a=1.0, b=[1.0, 2.0, 3.0])
    state = adam.init(params)
    before = snapshot(state.slots)
    step = adam.update_ if in_place else adam.update
    with pytest.raises(ParameterError, match=r"gradient of parameter 'b' must have shape \(3,\), found \(2,\)"):
        step({"a": torch.tensor(1.0), "b": torch.ones(2)}, state, params)
    assert params["a"].item() == 1.0
    assert_same(before, state.slots)


@pytest.mark.parametrize("in_place", [False, True])
@pytest.mark.parametrize("by_name", [False, True])
def test_a_parameter_that_never_joined_is_refused_by_name(in_place, by_name):
    adam = optim.Adam((lambda name: {"lr": 0.1}) if by_name else {"lr": 0.1})
    params = leaves(a=1.0, b=1.0)
    state = adam.init({"a": params["a"]})
    step = adam.update_ if in_place else adam.update
    with pytest.raises(ParameterError, match=r"Adam: parameter 'b' never joined the state; call join"):
        step({"a": torch.tensor(1.0), "b": torch.tensor(1.0)}, state, params)
    assert params["a"].item() == 1.0
    with pytest.raises(ParameterError, match="'nobody', but no parameter of that name"):
        step({"nobody": torch.tensor(1.0)}, state, params)


def test_what_cannot_be_optimized_is_refused_by_name():
    with pytest.raises(ParameterError, match=r"parameter 'count' must be floating-point, found torch.int64"):
        optim.Adam().init({"count": torch.tensor(1)})
    with pytest.raises(TypeError, match="parameter 'a' must be a tensor, found float"):
        optim.Adam().init({"a": 1.0})


@pytest.mark.parametrize("in_place", [False, True])
def test_a_step_without_gradients_is_no_step(in_place):
    adam = optim.Adam()
    params = leaves(a=1.0)
    for grads in ({}, {"a": None}):
        for state in (adam.init(params), adam.init({})):
            if in_place:
                adam.update_(grads, state, params)
            else:
                assert adam.update(grads, state, params)[0] == params
    assert params["a"].item() == 1.0


@pytest.mark.parametrize("in_place", [False, True])
def test_a_leaf_that_grew_is_not_stepped_with_a_memory_of_its_old_shape(in_place):
    """The kernel would read the old memory past its end; the rule would broadcast it."""
    adam = optim.Adam()
    params = {"b": torch.zeros(3), "a": torch.zeros(1000)}
    state = adam.init({"b": torch.zeros(3), "a": torch.zeros(1)})
    step = adam.update_ if in_place else adam.update
    with pytest.raises(ParameterError, match=r"parameter 'a' has shape \(1000,\), but its exp_avg has shape \(1,\)"):
        step({"b": torch.ones(3), "a": torch.ones(1000)}, state, params)
    assert not params["b"].any()
    assert not params["a"].any()


def test_configurations_are_frozen_compare_and_pickle():
    adam = optim.Adam({"lr": 0.1}, {"clip_norm": 1.0})
    assert adam == optim.Adam(lr=0.1, clip_args={"clip_norm": 1.0})
    assert adam != optim.Adam(lr=0.2, clip_args={"clip_norm": 1.0})
    assert adam != optim.Adam(lr=0.1)
    assert hash(adam) == hash(optim.Adam({"lr": 0.1}, {"clip_norm": 1.0}))
    assert hash(optim.Adam(betas=[0.5, 0.9])) == hash(optim.Adam(betas=(0.5, 0.9)))
    assert hash(optim.NAdam(lr=0.1)) == hash(optim.NAdam({"lr": 0.1}))
    assert pickle.loads(pickle.dumps(adam)) == adam
    assert copy.deepcopy(adam) == adam
    with pytest.raises(AttributeError):
        adam.options = None
    assert "lr=0.1" in repr(adam)


def test_two_runs_of_one_configuration_do_not_meet():
    adam = optim.Adam(lr=0.1)
    first, second = leaves(a=1.0), leaves(a=1.0)
    states = adam.init(first), adam.init(second)
    for _ in range(5):
        adam.update_({"a": torch.tensor(3.0)}, states[0], first)
    assert second["a"].item() == 1.0
    assert states[1].slots["a"]["step"].item() == 0.0
    assert states[0].learning_rates["a"] is not states[1].learning_rates["a"]


class Operators(TorchDispatchMode):
    """Write down the name of every operator that runs."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(function._schema.name)
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize(
    ("optimizer", "kernel"),
    [
        (optim.Adam(lr=0.1), "aten::_fused_adam_"),
        (optim.Adam(lambda name: {"lr": 0.1}), "aten::_fused_adam_"),
        (optim.AdamW(lr=0.1), "aten::_fused_adamw_"),
        (optim.SGD(lr=0.1, momentum=0.9), "aten::_fused_sgd_"),
        (optim.Adagrad(lr=0.1), "aten::_fused_adagrad_"),
    ],
)
def test_a_step_in_place_is_two_operators_however_many_parameters(optimizer, kernel):
    params = {str(number): torch.zeros(number) for number in range(1, 9)}
    grads = {name: torch.ones_like(value) for name, value in params.items()}
    state = optimizer.init(params)
    with Operators() as ran:
        optimizer.update_(grads, state, params)
    assert sorted(ran.names) == sorted([kernel, "aten::_foreach_add_"])


def test_a_step_in_place_reads_no_number():
    for optimizer in PURE:
        if optimizer.name == "ClippedAdam":
            continue  # on the CPU it computes its step sizes on the host, from step counts that are there
        params = {"a": torch.zeros(3)}
        state = optimizer.init(params)
        with Operators() as ran:
            optimizer.update_({"a": torch.ones(3)}, state, params)
        assert "aten::_local_scalar_dense" not in ran.names, optimizer.name
