"""The density of a draw along which its noise stays: the same number, the same derivative with respect to arguments."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import aleator.distributions as dist
from aleator.distributions.own_draws import is_shifted_noise, log_prob_of_draw

NOISE = torch.tensor([[0.5, -1.0, 2.0], [0.25, 1.5, -0.75]], dtype=torch.float64)


def leaves() -> tuple[Tensor, Tensor]:
    loc = torch.tensor([0.3, -0.2, 1.0], dtype=torch.float64, requires_grad=True)
    log_scale = torch.tensor([-0.5, 0.1, 0.4], dtype=torch.float64, requires_grad=True)
    return loc, log_scale


FORMS: dict[str, Callable[[Tensor, Tensor], dist.Distribution]] = {
    "both": lambda loc, log_scale: dist.Normal(2.0 * loc, log_scale.exp()),
    "leaf as loc": lambda loc, log_scale: dist.Normal(loc, log_scale.exp()),
    "one scale": lambda loc, log_scale: dist.Normal(loc * 1.5, log_scale.sum().exp()),
    "loc alone": lambda loc, log_scale: dist.Normal(loc.sin(), 0.3 + 0.0 * log_scale.detach()),
    "scale is a number": lambda loc, log_scale: dist.Normal(loc.sin(), 0.3),
    "scale alone": lambda loc, log_scale: dist.Normal(loc.detach(), log_scale.exp()),
    "loc is zero": lambda loc, log_scale: dist.Normal(0.0, log_scale.exp()),
    "one output of several": lambda loc, log_scale: dist.Normal(*torch.stack([loc.sin(), log_scale.exp()]).unbind(0)),
}


@pytest.mark.parametrize("event", [False, True])
@pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
def test_value_and_all_derivatives_in_the_arguments(
    form: Callable[[Tensor, Tensor], dist.Distribution], event: bool
) -> None:
    loc, log_scale = leaves()
    fn = form(loc, log_scale).expand((2, 3))
    fn = fn.to_event(1) if event else fn
    value = fn.rsample()
    base = fn.base_dist if event else fn
    assert is_shifted_noise(value, base._loc, base._scale)
    weights = torch.linspace(-1.0, 2.0, fn.batch_shape.numel(), dtype=torch.float64).reshape(fn.batch_shape)
    found = []
    for log_prob in (log_prob_of_draw(fn, value), fn.log_prob(value)):
        total = (log_prob * weights).sum()
        if not total.requires_grad:  # nothing but the noise is left
            found.append((log_prob, torch.zeros(6, dtype=torch.float64), torch.zeros(6, dtype=torch.float64)))
            continue
        options = {"allow_unused": True, "materialize_grads": True}
        first = torch.cat(torch.autograd.grad(total, (loc, log_scale), create_graph=True, **options))
        curved = (first.sin()).sum()
        second = (
            torch.cat(torch.autograd.grad(curved, (loc, log_scale), retain_graph=True, **options))
            if curved.requires_grad
            else torch.zeros(6, dtype=torch.float64)
        )
        found.append((log_prob, first, second))
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_a_draw_leaves_nothing_but_the_scale_in_the_graph() -> None:
    loc, log_scale = leaves()
    fn = dist.Normal(loc, log_scale.exp())
    (of_loc,) = torch.autograd.grad(log_prob_of_draw(fn, fn.rsample()).sum(), loc, allow_unused=True)
    assert of_loc is None


def _made(loc: Tensor, scale: Tensor) -> Tensor:
    return loc + NOISE * scale


NOT_DRAWS: dict[str, Callable[[Tensor, Tensor, Tensor], Tensor]] = {
    "another loc": lambda loc, scale, other: _made(other, scale),
    "another scale": lambda loc, scale, other: _made(loc, other),
    "noise with a graph": lambda loc, scale, other: loc + (NOISE * other.sin()) * scale,
    "no noise but a graph": lambda loc, scale, other: loc + other * scale,
    "loc twice": lambda loc, scale, other: torch.add(loc, NOISE * scale, alpha=2),
    "loc taken off": lambda loc, scale, other: NOISE * scale - loc,
    "a detached loc": lambda loc, scale, other: _made(loc.detach(), scale),
    "a detached scale": lambda loc, scale, other: _made(loc, scale.detach()),
    "cut": lambda loc, scale, other: _made(loc, scale).detach(),
    "cut and asked for": lambda loc, scale, other: _made(loc, scale).detach().requires_grad_(),
    "changed": lambda loc, scale, other: _made(loc, scale).sin(),
    "changed in place": lambda loc, scale, other: _made(loc, scale).mul_(2.0),
    "the other way round": lambda loc, scale, other: _made(scale, loc),
}


@pytest.mark.parametrize("make", NOT_DRAWS.values(), ids=NOT_DRAWS)
def test_whatever_is_no_such_draw_is_scored_as_a_value(make: Callable[[Tensor, Tensor, Tensor], Tensor]) -> None:
    """Each would have a wrong gradient if it passed."""
    loc, log_scale = leaves()
    scale = log_scale.exp()
    other = torch.tensor([1.0, 2.0, 3.0], dtype=torch.float64, requires_grad=True)
    value = make(loc, scale, other)
    assert not is_shifted_noise(value, loc, scale)
    fn = dist.Normal(loc, scale).expand((2, 3))
    asked = [each for each in (log_scale, other) if each.requires_grad]
    ours = torch.autograd.grad(log_prob_of_draw(fn, value).sum(), asked, allow_unused=True, retain_graph=True)
    theirs = torch.autograd.grad(fn.log_prob(value).sum(), asked, allow_unused=True)
    torch.testing.assert_close(ours, theirs)


def test_two_outputs_of_one_node_are_told_apart() -> None:
    both = torch.ones(2, 3, dtype=torch.float64, requires_grad=True).exp()
    scale, loc = both.unbind(0)
    assert is_shifted_noise(_made(loc, scale), loc, scale)
    assert not is_shifted_noise(_made(scale, loc), loc, scale)


def test_noise_has_no_graph_where_the_scale_has_none() -> None:
    loc, other = leaves()
    assert is_shifted_noise(loc + NOISE * 0.3, loc, 0.3)
    assert not is_shifted_noise(loc + other * 0.3, loc, 0.3)
    assert not is_shifted_noise(NOISE * 0.3, 0.0, 0.3)


def test_a_draw_that_somebody_listens_to_keeps_its_path() -> None:
    loc, log_scale = leaves()
    fn = dist.Normal(loc, log_scale.exp())
    heard, kept = fn.rsample(), fn.rsample()
    gradients: list[Tensor] = []
    heard.register_hook(gradients.append)
    kept.retain_grad()
    (log_prob_of_draw(fn, heard) + log_prob_of_draw(fn, kept)).sum().backward()
    torch.testing.assert_close(gradients[0], ((loc - heard) / (2 * log_scale).exp()).detach())
    torch.testing.assert_close(kept.grad, ((loc - kept) / (2 * log_scale).exp()).detach())


def test_transforms_take_the_density_as_it_is() -> None:
    def total(loc: Tensor) -> Tensor:
        fn = dist.Normal(loc, 2.0)
        return log_prob_of_draw(fn, loc + NOISE * 2.0).sum()

    torch.testing.assert_close(torch.func.grad(total)(torch.zeros(3, dtype=torch.float64)), torch.zeros(3).double())


def test_other_distributions_are_scored_as_ever() -> None:
    loc, log_scale = leaves()
    for fn in (dist.LogNormal(loc, log_scale.exp()), dist.Normal(loc, log_scale.exp()).mask(torch.tensor(True))):
        value = fn.rsample()
        assert torch.equal(log_prob_of_draw(fn, value), fn.log_prob(value))
    torch_made = dist.Independent(torch.distributions.Laplace(loc, log_scale.exp(), validate_args=False), 1)
    value = torch_made.rsample()
    assert torch.equal(log_prob_of_draw(torch_made, value), torch_made.log_prob(value))
