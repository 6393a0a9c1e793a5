"""The pure rules and their in-place twins against torch.optim on the same gradients, option by option."""

import pytest
import torch

from aleator import optim

CASES = [
    ("Adam", {}),
    ("Adam", {"lr": 0.1, "betas": (0.5, 0.9), "eps": 1e-3}),
    ("Adam", {"lr": 0.1, "betas": (0.0, 0.0)}),
    ("Adam", {"weight_decay": 0.1}),
    ("Adam", {"weight_decay": 0.1, "decoupled_weight_decay": True}),
    ("Adam", {"amsgrad": True, "lr": 0.1}),
    ("Adam", {"maximize": True, "weight_decay": 0.1}),
    ("AdamW", {}),
    ("AdamW", {"lr": 0.1, "weight_decay": 0.2, "amsgrad": True, "maximize": True}),
    ("SGD", {}),
    ("SGD", {"lr": 0.1, "momentum": 0.9}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "dampening": 0.3}),
    ("SGD", {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    ("SGD", {"lr": 0.1, "weight_decay": 0.1, "maximize": True}),
    ("RMSprop", {}),
    ("RMSprop", {"lr": 0.1, "alpha": 0.5, "eps": 1e-3, "weight_decay": 0.1}),
    ("RMSprop", {"centered": True, "maximize": True}),
    ("RMSprop", {"momentum": 0.9, "centered": True, "lr": 0.1}),
    ("Adagrad", {}),
    ("Adagrad", {"lr": 0.1, "lr_decay": 0.2, "weight_decay": 0.1}),
    ("Adagrad", {"lr": 0.1, "initial_accumulator_value": 0.5, "eps": 1e-3, "maximize": True}),
]
SHAPES = {"scalar": (), "vector": (3,), "matrix": (2, 3), "empty": (0, 2)}
STEPS = 12


def draw(dtype, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {name: torch.randn(shape, dtype=dtype, generator=generator) for name, shape in SHAPES.items()}


def by_torch(name, options, dtype=torch.float64, steps=STEPS):
    params = {key: value.requires_grad_() for key, value in draw(dtype).items()}
    optimizer = getattr(torch.optim, name)(params.values(), foreach=False, **options)
    for step in range(steps):
        for key, grad in draw(dtype, seed=step + 1).items():
            params[key].grad = grad
        optimizer.step()
    return {key: value.detach() for key, value in params.items()}


def by_update(optimizer, dtype=torch.float64, steps=STEPS):
    params = draw(dtype)
    state = optimizer.init(params)
    for step in range(steps):
        params, state = optimizer.update(draw(dtype, seed=step + 1), state, params)
    return params, state


def by_update_(optimizer, dtype=torch.float64, steps=STEPS):
    params = {key: value.requires_grad_() for key, value in draw(dtype).items()}
    state = optimizer.init(params)
    for step in range(steps):
        optimizer.update_(draw(dtype, seed=step + 1), state, params)
    return {key: value.detach() for key, value in params.items()}, state


def assert_close(found, expected, tolerance):
    assert found.keys() == expected.keys()
    for name, value in expected.items():
        assert found[name].dtype == value.dtype
        torch.testing.assert_close(
            found[name], value, rtol=tolerance, atol=tolerance, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize(("name", "options"), CASES)
def test_update_equals_torch(name, options):
    params, _ = by_update(getattr(optim, name)(options))
    assert_close(params, by_torch(name, options), 1e-12)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_update_in_place_equals_torch(name, options):
    params, _ = by_update_(getattr(optim, name)(options))
    assert_close(params, by_torch(name, options), 1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize(("name", "options"), [*CASES, ("ClippedAdam", {"lrd": 0.9, "weight_decay": 0.1})])
def test_both_forms_agree_in_lower_precision_and_on_one_state_layout(name, options, dtype):
    if name == "Adagrad" and dtype is not torch.float32 and options == {}:
        options = {"eps": 1e-3}  # 1e-10 is nothing beside a half-precision root
    optimizer = getattr(optim, name)(options)
    pure, pure_state = by_update(optimizer, dtype)
    leaves, state = by_update_(optimizer, dtype)
    # A kernel keeps half-precision numbers in single precision a little longer than the rule does.
    tolerance = 1e-5 if dtype is torch.float32 else 24 * torch.finfo(dtype).eps
    assert_close(leaves, pure, tolerance)
    assert list(state.slots) == list(pure_state.slots)
    for key, slots in state.slots.items():
        assert_close(slots, pure_state.slots[key], tolerance)
    assert all(slots["step"].item() == STEPS for slots in state.slots.values())


def test_a_rule_that_forgot_bias_correction_would_be_caught():
    without = by_torch("Adam", {"lr": 0.1})
    params, _ = by_update(optim.RMSprop(lr=0.1, alpha=0.999))  # Adam without first moment and without correction
    with pytest.raises(AssertionError):
        assert_close(params, without, 1e-12)


@pytest.mark.parametrize("name", ["Adam", "AdamW", "SGD", "RMSprop", "Adagrad"])
def test_defaults_are_torchs(name):
    torch_class = getattr(torch.optim, name)
    torch_defaults = torch_class([torch.zeros(1, requires_grad=True)]).defaults
    options = getattr(optim, name)().options
    for key, value in torch_defaults.items():
        if key not in ("foreach", "fused", "capturable", "differentiable"):
            assert getattr(options, key) == value, key


@pytest.mark.parametrize("name", ["Adam", "AdamW", "SGD", "RMSprop", "Adagrad"])
def test_complex_parameters_step_as_torchs(name):
    start, grad = torch.tensor([1 + 2j, -3j]), torch.tensor([0.5 - 1j, 2 + 0j])
    leaf = start.clone().requires_grad_()
    reference = getattr(torch.optim, name)([leaf], lr=0.1, foreach=False)
    optimizer = getattr(optim, name)(lr=0.1)
    params, leaves = {"z": start}, {"z": start.clone().requires_grad_()}
    state, state_ = optimizer.init(params), optimizer.init(leaves)
    for _ in range(3):
        leaf.grad = grad.clone()
        reference.step()
        params, state = optimizer.update({"z": grad.conj().conj()}, state, params)
        optimizer.update_({"z": grad}, state_, leaves)
    torch.testing.assert_close(params["z"], leaf.detach())
    torch.testing.assert_close(leaves["z"].detach(), leaf.detach())


@pytest.mark.parametrize("name", ["Adam", "ClippedAdam", "SGD", "Adagrad", "RMSprop"])
def test_tensor_learning_rates_step_as_numbers_do(name):
    number, _ = by_update(getattr(optim, name)(lr=0.25))
    tensor, _ = by_update(getattr(optim, name)(lr=torch.tensor([0.25])))
    in_place, _ = by_update_(getattr(optim, name)(lr=torch.tensor(0.25)))
    assert_close(tensor, number, 0.0)
    assert_close(in_place, number, 1e-12)
