"""Broken twins of Trace_ELBO: the exact comparison has to tell each of them from the real one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
import torch

import aleator_svi_elbo.particle_terms as terms_module
from aleator.infer import Capabilities, density
from aleator.sites import PlateFrame
from aleator_svi_elbo import ELBO, Trace_ELBO
from aleator_svi_elbo.rao_blackwell import Costs
from aleator_svi_elbo.summation import sum_to_dims
from exact_expectation import expected, truth
from gradient_cases import CASES

ANY = Capabilities(non_reparam=True, vectorized_particles=True, gradient_rules=frozenset({"pathwise", "score"}))


@dataclass(frozen=True, repr=False)
class ZeroGradient(ELBO):
    capabilities: ClassVar[Capabilities] = ANY

    def reduce(self, terms):
        bound, surrogate = super().reduce(terms)
        return bound, surrogate * 0.0


@dataclass(frozen=True, repr=False)
class FlippedSign(ELBO):
    capabilities: ClassVar[Capabilities] = ANY

    def reduce(self, terms):
        bound, surrogate = super().reduce(terms)
        return bound, -surrogate


@dataclass(frozen=True, repr=False)
class SummedParticles(ELBO):
    capabilities: ClassVar[Capabilities] = ANY

    def reduce(self, terms):
        return terms.log_weight.mean(0), terms.surrogate.sum(0)


@dataclass(frozen=True, repr=False)
class NoScore(ELBO):
    capabilities: ClassVar[Capabilities] = ANY

    def reduce(self, terms):
        return terms.log_weight.mean(0), terms.log_weight.mean(0)


def differs(name, estimator):
    """Tell by how much the loss and the gradient miss the truth."""
    case = CASES[name]
    theta = case.parameters()
    true_loss = truth(case, theta)
    (true_gradient,) = torch.autograd.grad(true_loss, theta)
    loss, gradient = expected(case, estimator)
    return float((loss - true_loss).detach().abs()), float((gradient - true_gradient).abs().max())


@pytest.mark.parametrize(
    ("mutant", "name", "particles"),
    [
        (ZeroGradient, "pathwise", 1),
        (ZeroGradient, "score", 1),
        (FlippedSign, "pathwise", 1),
        (FlippedSign, "plate-score", 1),
        (SummedParticles, "score", 2),
        (NoScore, "score", 1),
        (NoScore, "mixed", 1),
    ],
)
def test_broken_reduction_is_caught(mutant, name, particles):
    _, gradient_error = differs(name, mutant(num_particles=particles))
    assert gradient_error > 1e-2


def with_factors(monkeypatch, change):
    """Let the terms see factors of the guide that are changed."""
    monkeypatch.setattr(
        terms_module, "density", lambda trace: {name: change(factor) for name, factor in density(trace).items()}
    )


def test_scaled_score_is_caught(monkeypatch):
    with_factors(monkeypatch, lambda f: f if f.score is None else replace(f, score=f.score * f.scale * f.plate_scale))
    assert differs("scale", Trace_ELBO())[1] > 1e-2
    assert differs("subsample-score", Trace_ELBO())[1] > 1e-2


def test_masked_score_is_caught(monkeypatch):
    with_factors(
        monkeypatch,
        lambda f: f if f.score is None or f.mask is None else replace(f, score=f.score * torch.as_tensor(f.mask)),
    )
    assert differs("mask", Trace_ELBO())[1] > 1e-2
    assert differs("masked-out", Trace_ELBO())[1] > 1e-2


def test_score_masked_by_its_distribution_is_caught(monkeypatch):
    with_factors(monkeypatch, lambda f: f if f.score is None else replace(f, score=f.log_prob))
    assert differs("distribution-mask", Trace_ELBO())[1] > 1e-2


def test_dropped_entropy_is_caught(monkeypatch):
    """The guide's log q without its graph: the variance of a pathwise guide then collapses."""
    with_factors(
        monkeypatch,
        lambda f: f if f.score is not None or f.role.value == "observed" else replace(f, entropy=f.log_prob.detach()),
    )
    assert differs("pathwise", Trace_ELBO())[1] > 1e-2
    assert differs("mixed", Trace_ELBO())[1] > 1e-2


@pytest.mark.parametrize("name", ["subsample-score", "subsample-mixed"])
def test_doubled_subsample_scale_is_caught(monkeypatch, name):
    monkeypatch.setattr(PlateFrame, "scale", property(lambda self: (self.full_size / self.size) ** 2))
    value_error, gradient_error = differs(name, Trace_ELBO())
    assert value_error > 1e-2
    assert gradient_error > 1e-2


def test_costs_shared_by_dim_instead_of_plate_are_caught(monkeypatch):
    """Two plates in turn at one dim: matching slices by dim loses what one plate's draws cause in the other."""

    def by_dim(self, factor):
        dims = frozenset(frame.dim for frame in factor.frames)
        return sum(
            sum_to_dims(cost, frozenset(frame.dim for frame in frames) & dims)
            for frames, cost in self._by_frames.items()
        )

    monkeypatch.setattr(Costs, "of", by_dim)
    assert differs("shared-dim", Trace_ELBO())[1] > 1e-2
    assert differs("plate-score", Trace_ELBO())[1] < 1e-10


def test_costs_outside_a_loop_left_out_are_caught(monkeypatch):
    """What lies outside the loop may depend on every turn, as the total does here."""
    original = Costs.of

    def only_own(self, factor):
        kept = {frames: cost for frames, cost in self._by_frames.items() if frames >= factor.frames}
        other = Costs(self._common)
        other._by_frames = kept
        return original(other, factor)

    monkeypatch.setattr(Costs, "of", only_own)
    assert differs("sequential", Trace_ELBO())[1] > 1e-2
