"""ClippedAdam against numbers that pyro.optim.ClippedAdam (pyro-ppl 1.9.2, torch 2.13) printed for the same run."""

import pytest
import torch

from aleator import optim

# Seven steps from [1, -2, 0.5] in double precision, along `gradient`.
FROM_PYRO = {
    "plain": ({"lr": 0.1}, [0.312790526223557, -1.4389096268799255, 0.34557603128304976]),
    "decay": (
        {"lr": 0.05, "lrd": 0.9, "betas": (0.8, 0.95)},
        [0.7663814316716102, -1.8070019912603221, 0.44204966862082584],
    ),
    "clip": (
        {"lr": 0.1, "clip_norm": 0.5, "weight_decay": 0.1, "eps": 1e-3},
        [0.3229104925215861, -1.3718963109702322, 0.3087532558349837],
    ),
    "centered": (
        {"lr": 0.1, "lrd": 0.99, "centered_variance": True, "clip_norm": 2.0},
        [0.13792931275243325, -1.2989894507805115, 0.3357245370811704],
    ),
}
START = torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)


def gradient(param, step):
    swing = torch.tensor([0.5, -4.0, 12.0], dtype=torch.float64) * (-1.0) ** step
    return 3.0 * param.detach() + swing + 0.25 * step


@pytest.mark.parametrize("case", FROM_PYRO)
def test_update_equals_pyro(case):
    options, expected = FROM_PYRO[case]
    clipped = optim.ClippedAdam(options)
    params = {"a": START.clone()}
    state = clipped.init(params)
    for step in range(7):
        params, state = clipped.update({"a": gradient(params["a"], step)}, state, params)
    torch.testing.assert_close(params["a"], torch.tensor(expected, dtype=torch.float64), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("case", FROM_PYRO)
def test_update_in_place_equals_pyro_and_leaves_gradients_alone(case):
    options, expected = FROM_PYRO[case]
    clipped = optim.ClippedAdam(options)
    params = {"a": START.clone().requires_grad_()}
    state = clipped.init(params)
    for step in range(7):
        grad = gradient(params["a"], step)
        before = grad.clone()
        clipped.update_({"a": grad}, state, params)
        assert torch.equal(grad, before)
    expected = torch.tensor(expected, dtype=torch.float64)
    torch.testing.assert_close(params["a"].detach(), expected, rtol=1e-12, atol=1e-12)


def test_its_epsilon_is_not_adams():
    """With a gradient near epsilon the two differ: a port onto Adam's formula would be caught."""
    params, grads = {"a": torch.zeros(1)}, {"a": torch.full((1,), 1e-8)}
    clipped, adam = optim.ClippedAdam(lr=0.1), optim.Adam(lr=0.1)
    by_clipped, _ = clipped.update(grads, clipped.init(params), params)
    by_adam, _ = adam.update(grads, adam.init(params), params)
    assert abs(by_clipped["a"] - by_adam["a"]).item() > 0.03


@pytest.mark.parametrize("in_place", [False, True])
def test_decay_counts_a_parameters_own_steps(in_place):
    clipped = optim.ClippedAdam(lr=1.0, lrd=0.5)
    params = {"early": torch.zeros(()), "late": torch.zeros(())}
    state = clipped.init(params)
    for names in (["early"], ["early", "late"]):
        grads = {name: torch.ones(()) for name in names}
        if in_place:
            clipped.update_(grads, state, params)
        else:
            params, state = clipped.update(grads, state, params)
    assert params["early"].item() == pytest.approx(-0.75, abs=1e-6)
    assert params["late"].item() == pytest.approx(-0.5, abs=1e-6)
