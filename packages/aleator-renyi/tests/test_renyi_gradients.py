"""The gradient is that of the K-sample bound as reported, for every order, kind of site and rule."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator.errors import UnsupportedModelError
from aleator.infer import IWAE, RenyiELBO
from aleator_renyi import folding
from bound_expectation import Programs, estimated_bound, true_bound

ORDERS = (0.0, 0.5, 2.0, -1.0)
KINDS = {
    "pathwise": Programs(True, False, {}),
    "score": Programs(False, True, {}),
    "mixed": Programs(True, True, {}),
    "mixed, normal first": Programs(True, True, {}, normal_first=True),
}
RULES = {
    "forced score": Programs(True, False, {"z": "score"}),
    "vimco": Programs(False, True, {"b": "vimco"}),
    "vimco beside pathwise": Programs(True, True, {"b": "vimco"}),
    "vimco after pathwise": Programs(True, True, {"b": "vimco"}, normal_first=True),
    "stl": Programs(True, False, {"z": "stl"}),
    "stl beside score": Programs(True, True, {"z": "stl"}),
    "stl before score": Programs(True, True, {"z": "stl"}, normal_first=True),
    "dreg": Programs(True, False, {"z": "dreg"}),
    "dreg beside score": Programs(True, True, {"z": "dreg"}),
    "dreg beside vimco": Programs(True, True, {"z": "dreg", "b": "vimco"}),
}


def reduction(alpha: float) -> Any:
    """The bound of the weights, written plainly."""
    if math.isinf(alpha):
        return lambda weights: weights.max(0).values if alpha < 0 else weights.min(0).values
    return lambda w: (torch.logsumexp((1 - alpha) * w, 0) - math.log(w.shape[0])) / (1 - alpha)


def nodes_for(programs: Programs, particles: int) -> int:
    if not programs.with_normal:
        return 1
    return {1: 80, 2: 48, 3: 20}[particles]


def check(programs: Programs, alpha: float, particles: int, vectorized: bool, tolerance: float) -> None:
    nodes = nodes_for(programs, particles)
    estimator = RenyiELBO(alpha, particles, vectorize_particles=vectorized, max_plate_nesting=1)
    _, gradient = estimated_bound(programs, estimator, nodes)
    _, truth = true_bound(programs, particles, nodes, reduction(alpha))
    torch.testing.assert_close(gradient, truth, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("vectorized", [False, True])
@pytest.mark.parametrize("particles", [1, 2, 3])
@pytest.mark.parametrize("alpha", ORDERS)
@pytest.mark.parametrize("kind", KINDS)
def test_gradient_is_that_of_the_bound(kind: str, alpha: float, particles: int, vectorized: bool) -> None:
    """SEMANTICS 47: equal to the derivative of the enumerated bound, discrete sites included."""
    # With three particles and a normal site the quadrature itself is the less exact side; it is the same on both.
    check(KINDS[kind], alpha, particles, vectorized, 1e-9)


@pytest.mark.parametrize("alpha", [-math.inf, math.inf])
@pytest.mark.parametrize("particles", [1, 2, 3])
def test_gradient_of_the_extremes(alpha: float, particles: int) -> None:
    """The largest and the smallest weight, over discrete draws, where enumeration is exact."""
    check(KINDS["score"], alpha, particles, False, 1e-12)


@pytest.mark.parametrize("particles", [1, 2, 3])
@pytest.mark.parametrize("alpha", ORDERS)
@pytest.mark.parametrize("rule", RULES)
def test_rules_have_the_same_expectation(rule: str, alpha: float, particles: int) -> None:
    """SEMANTICS 49: no rule changes the expected gradient; only quadrature stands between them."""
    check(RULES[rule], alpha, particles, False, {1: 1e-8, 2: 1e-5, 3: 2e-3}[particles])


@pytest.mark.parametrize("rule", ["vimco", "stl", "dreg", "dreg beside score"])
def test_rules_vectorized(rule: str) -> None:
    check(RULES[rule], 0.0, 2, True, 1e-5)


def test_the_plain_name() -> None:
    """IWAE is order 0."""
    programs = KINDS["mixed"]
    nodes = 12
    left = estimated_bound(programs, IWAE(num_particles=2), nodes)
    right = estimated_bound(programs, RenyiELBO(0.0, 2), nodes)
    torch.testing.assert_close(left, right, rtol=0, atol=0)


@dataclass(frozen=True)
class Mutant:
    """One thing broken in ``folding``."""

    name: str
    attribute: str
    replacement: Any
    programs: Programs


def zero(*args: Any) -> Any:
    return torch.zeros_like(args[0])


MUTANTS = [
    Mutant("the other particles' word depends on the own draw", "leave_one_out", folding.bound, RULES["vimco"]),
    Mutant("stl with no share", "normalized_weights", zero, RULES["stl"]),
    Mutant("dreg weighs nothing", "weigh_paths", lambda weights: None, RULES["dreg"]),
    Mutant("the order is ignored", "bound", lambda weights, alpha: weights.mean(0), KINDS["score"]),
]


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_broken_twins_are_caught(mutant: Mutant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(folding, mutant.attribute, mutant.replacement)
    with pytest.raises(AssertionError):
        check(mutant.programs, 0.0, 2, False, 1e-4)


def guide_with(*sites: tuple[str, str, str]) -> Any:
    def guide() -> None:
        for name, kind, rule in sites:
            fn = dist.Normal(0.0, 1.0) if kind == "normal" else dist.Bernoulli(torch.tensor(0.4))
            aleator.sample(name, fn, infer={"gradient": rule})

    return guide


@pytest.mark.parametrize(
    ("sites", "message"),
    [
        ((("a", "normal", "dreg"), ("b", "normal", "pathwise")), r"'a' asks .*'dreg', but site 'b' has 'pathwise'"),
        ((("a", "normal", "stl"), ("b", "normal", "dreg")), r"'b' asks .*'dreg', but site 'a' has 'stl'"),
        ((("a", "normal", "dreg"), ("b", "bernoulli", "score")), r"site 'b' comes after it and may depend on it"),
        ((("a", "bernoulli", "dreg"),), r"'dreg', but Bernoulli has no reparameterized draw"),
    ],
)
def test_mixtures_that_would_bias_are_refused(sites: Any, message: str) -> None:
    with pytest.raises(UnsupportedModelError, match=message):
        IWAE().estimate(guide_with(*((name, kind, "score") for name, kind, _ in sites)), guide_with(*sites))


@pytest.mark.parametrize("alpha", [-math.inf, math.inf])
def test_no_second_path_through_an_extreme(alpha: float) -> None:
    guide = guide_with(("a", "normal", "dreg"))
    with pytest.raises(UnsupportedModelError, match=r"'a' asks .*'dreg', but at alpha=.*single weight"):
        RenyiELBO(alpha).estimate(guide_with(("a", "normal", "pathwise")), guide)


def test_nothing_varies_at_the_posterior() -> None:
    """SEMANTICS 49: with stl and dreg the gradient is zero where all weights are equal; pathwise it is not."""

    def model(loc: Any) -> None:
        aleator.sample("z", dist.Normal(0.0, 1.0))

    for rule, still in (("stl", True), ("dreg", True), ("pathwise", False)):

        def guide(loc: Any, rule: str = rule) -> None:
            aleator.sample("z", dist.Normal(loc, 1.0), infer={"gradient": rule})

        loc = torch.zeros((), requires_grad=True)
        surrogate = IWAE(num_particles=4).estimate(model, guide, loc).surrogate
        (gradient,) = torch.autograd.grad(surrogate, loc)
        assert (abs(gradient.item()) < 1e-6) is still
