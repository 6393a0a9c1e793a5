"""Clipping against torch.nn.utils, per parameter, in both forms of a step."""

import pytest
import torch

from aleator import optim

GRADS = {"small": torch.tensor([0.1, -0.2]), "large": torch.tensor([[30.0, -40.0]]), "scalar": torch.tensor(-7.0)}


def by_torch(clip_norm=None, clip_value=None):
    """One step of plain SGD at rate 1 from zero, on gradients that torch has clipped one by one: minus those."""
    clipped = {}
    for name, grad in GRADS.items():
        leaf = torch.zeros_like(grad, requires_grad=True)
        leaf.grad = grad.clone()
        if clip_norm is not None:
            torch.nn.utils.clip_grad_norm_(leaf, clip_norm)
        if clip_value is not None:
            torch.nn.utils.clip_grad_value_(leaf, clip_value)
        clipped[name] = -leaf.grad
    return clipped


@pytest.mark.parametrize("optimizer", ["SGD", "ASGD"])
@pytest.mark.parametrize(
    "clip", [{"clip_norm": 5.0}, {"clip_value": 2.0}, {"clip_norm": 5.0, "clip_value": 3.5}, {"clip_norm": 0.0}, {}]
)
def test_clipping_equals_torchs(optimizer, clip):
    options = {"lr": 1.0} if optimizer == "SGD" else {"lr": 1.0, "lambd": 0.0}
    configuration = getattr(optim, optimizer)(options, clip)
    params = {name: torch.zeros_like(grad, requires_grad=True) for name, grad in GRADS.items()}
    before = {name: grad.clone() for name, grad in GRADS.items()}
    state = configuration.init(params)
    found = [params]
    if configuration.has_pure_form:
        found.append(configuration.update(GRADS, state, params)[0])
    configuration.update_(GRADS, state, params)
    for result in found:
        for name, expected in by_torch(**clip).items():
            torch.testing.assert_close(result[name].detach(), expected)
    assert all(torch.equal(before[name], grad) for name, grad in GRADS.items())


@pytest.mark.parametrize("optimizer", ["SGD", "ASGD"])
def test_clipping_by_name(optimizer):
    clip = {"large": {"clip_value": 1.0}, "scalar": {"clip_norm": 1.0}}
    configuration = getattr(optim, optimizer)({"lr": 1.0}, lambda name: clip.get(name, {}))
    params = {name: torch.zeros_like(grad, requires_grad=True) for name, grad in GRADS.items()}
    configuration.update_(GRADS, configuration.init(params), params)
    torch.testing.assert_close(params["small"].detach(), -GRADS["small"])
    torch.testing.assert_close(params["large"].detach(), torch.tensor([[-1.0, 1.0]]))
    torch.testing.assert_close(params["scalar"].detach(), torch.tensor(1.0))


def test_an_overlong_gradient_of_zero_length_stays_zero():
    clip = optim.GradientClip(clip_norm=1.0)
    assert torch.equal(clip.apply(torch.zeros(3)), torch.zeros(3))


@pytest.mark.parametrize("optimizer", ["Adam", "NAdam"])
def test_bad_clipping_is_refused(optimizer):
    make = getattr(optim, optimizer)
    with pytest.raises(TypeError, match=rf"{optimizer}: clip_args has no option 'norm'; did you mean 'clip_norm'\?"):
        make({"lr": 0.1}, {"norm": 1.0})
    with pytest.raises(ValueError, match=rf"{optimizer}: clip_args: clip_norm must be finite and at least 0"):
        make({"lr": 0.1}, {"clip_norm": -1.0})
    with pytest.raises(TypeError, match=rf"{optimizer}: clip_args must be a dict.*found float"):
        make({"lr": 0.1}, 10.0)
    params = {"a": torch.zeros(1, requires_grad=True)}
    named = make({"lr": 0.1}, lambda name: {"clip_norm": -1.0})
    with pytest.raises(ValueError, match=rf"{optimizer} \(parameter 'a'\): clip_args: clip_norm"):
        named.update_({"a": torch.ones(1)}, named.init(params), params)
    assert params["a"].item() == 0.0
