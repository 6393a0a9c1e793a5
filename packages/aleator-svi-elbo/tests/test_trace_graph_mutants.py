"""Broken twins of TraceGraph_ELBO and its baselines: the exact comparison has to tell each from the real one."""

from __future__ import annotations

import pytest
import torch

import aleator
import aleator.infer.source_marker as marker_module
import aleator_svi_elbo.baselines as baselines_module
import aleator_svi_elbo.downstream_costs as costs_module
from aleator.infer import structure
from aleator.infer.reach import Reached
from aleator.infer.structure import SITE_STRUCTURE, annotate
from aleator_svi_elbo import TraceGraph_ELBO
from aleator_svi_elbo.decaying_average import DecayingAverage
from aleator_svi_elbo.rao_blackwell import shared_costs
from aleator_svi_elbo.tracing import trace_pair
from baseline_cases import fill_averages, with_baseline
from exact_expectation import D, Forced, expected, truth
from graph_cases import CHAIN, GRAPH_CASES, VEE


@pytest.fixture(autouse=True)
def store():
    with aleator.ParamStore() as inner:
        yield inner


def misses(case, estimator=None):
    """By how much the gradient misses the truth."""
    theta = case.parameters()
    (true_gradient,) = torch.autograd.grad(truth(case, theta), theta)
    _, gradient = expected(case, estimator or TraceGraph_ELBO())
    return float((gradient - true_gradient).abs().max())


def with_reach(monkeypatch, change):
    """Let each site of the guide reach something else: ``change(site, model's structure, guide's) -> Reached``."""
    original = structure.reached_by

    def changed(model, guide):
        original(model, guide)
        return {name: change(site, model, guide) for name, site in guide.items()}

    monkeypatch.setattr(structure, "reached_by", changed)
    monkeypatch.setattr(structure, "_structures", type(structure._structures)())


def directly(site, model, guide):
    """The factors that a draw enters itself."""
    return Reached(
        *(
            frozenset(name for name, other in sites.items() if site.name in other.factor_depends_on)
            for sites in (model, guide)
        )
    )


def test_costs_reached_through_later_draws_left_out_are_caught(monkeypatch):
    with_reach(monkeypatch, directly)
    assert misses(CHAIN) > 1e-2
    assert misses(GRAPH_CASES["through"]) > 1e-2
    assert misses(VEE) < 1e-12


@pytest.mark.parametrize("name", ["score", "vee", "chain", "plate-score"])
def test_a_missing_own_log_q_is_caught(monkeypatch, name):
    real = structure.reached_by
    with_reach(monkeypatch, lambda site, model, guide: _without_itself(real(model, guide)[site.name], site.name))
    assert misses(GRAPH_CASES[name]) > 1e-2


def _without_itself(reached, name):
    return Reached(reached.model, reached.guide - {name})


def test_a_guide_that_is_left_out_is_caught(monkeypatch):
    """The costs of the model alone."""
    real = structure.reached_by
    with_reach(monkeypatch, lambda site, model, guide: Reached(real(model, guide)[site.name].model))
    assert misses(CHAIN) > 1e-2


def test_upstream_costs_in_place_of_downstream_ones_are_caught(monkeypatch):
    real = structure.reached_by

    def upstream(site, model, guide):
        reached = real(model, guide)[site.name]
        return Reached(frozenset(model) - reached.model, (frozenset(guide) - reached.guide) | {site.name})

    with_reach(monkeypatch, upstream)
    assert misses(CHAIN) > 1e-2


def test_dependence_on_the_way_taken_alone_is_caught(monkeypatch):
    """A read on the host that counts for what was read, and not for what the other way would have looked at."""

    def postprocess_sample(self, site):
        self.parents[site.name] = self._tracker.of(marker_module._parameters_of(site.fn))
        if not site.is_observed:
            site.value = self._tracker.begin(site.value, site.name)

    monkeypatch.setitem(marker_module.SourceMarker.postprocess_table, "sample", postprocess_sample)
    monkeypatch.setattr(structure, "_structures", type(structure._structures)())
    assert misses(GRAPH_CASES["steered"]) > 1e-2


def test_slices_of_a_shared_plate_that_are_mixed_are_noise(monkeypatch):
    """Mixing them is unbiased, and so it is the terms that tell: each element has its own costs only."""

    def mixed(costs, frames):
        own = shared_costs(costs, frames)
        return own.sum().expand(own.shape) if isinstance(own, torch.Tensor) else own

    monkeypatch.setattr(costs_module, "shared_costs", mixed)
    assert misses(GRAPH_CASES["plate-score"]) < 1e-10
    assert not _elements_answer_for_themselves()
    monkeypatch.undo()
    assert _elements_answer_for_themselves()


def _elements_answer_for_themselves():
    case = GRAPH_CASES["plate-score"]
    theta = case.parameters()
    weights = []
    for other in (0.0, 1.0):
        raw = {"b": D(1.0), "z": D([1.0, other])}
        with Forced([raw], False, None):
            estimator = TraceGraph_ELBO()
            pair = trace_pair(estimator, case.model, case.guide, (theta,), {})
        annotate(case.model, case.guide, (theta,), {}, *pair)
        assert SITE_STRUCTURE in pair.guide_trace.nodes["z"].stash
        surrogate = estimator.particle_terms(*pair).surrogate
        weights.append(torch.autograd.grad(surrogate, theta)[0][1])
    return torch.equal(*weights)


def test_an_input_of_the_network_that_keeps_its_graph_is_caught(monkeypatch):
    monkeypatch.setattr(baselines_module, "tree_map_only", lambda kind, function, tree: tree)
    plain = GRAPH_CASES["score"]
    network = torch.nn.Linear(1, 1).double()

    def guide(theta):
        baseline = {"nn_baseline": lambda x: network(x)[0], "nn_baseline_input": theta[:1]}
        aleator.sample("z", aleator.distributions.Bernoulli(logits=theta[0]), infer={"baseline": baseline})

    case = type(plain)(**{**vars(plain), "guide": guide})
    assert misses(case) > 1e-2
    monkeypatch.undo()
    assert misses(case) < 1e-12


def test_a_network_that_peeks_at_its_own_draw_is_caught():
    """Counted as unbiased by nobody: a baseline that follows the draw takes the gradient with it."""
    plain = GRAPH_CASES["score"]

    def guide(theta):
        peek = []
        baseline = {"nn_baseline": lambda x: peek[0] * 2.0, "nn_baseline_input": theta}
        peek.append(aleator.sample("z", aleator.distributions.Bernoulli(logits=theta[0]), infer={"baseline": baseline}))

    assert misses(type(plain)(**{**vars(plain), "guide": guide})) > 1e-2


def test_an_average_that_is_moved_before_it_is_used_is_caught(monkeypatch):
    """SEMANTICS 15: the new average contains the costs of the draw at hand."""
    case = with_baseline(GRAPH_CASES["vee"], "decaying")
    fill_averages(case)
    assert misses(case) < 1e-12
    monkeypatch.setattr(DecayingAverage, "value", DecayingAverage.after)
    assert misses(case) > 1e-2


@pytest.mark.parametrize("kind", ["value", "network"])
def test_a_baseline_added_to_the_costs_of_other_sites_is_caught(monkeypatch, kind):
    """The score term times the baseline alone is what has expectation zero: a doubled one in the value does not."""
    case = with_baseline(GRAPH_CASES["vee"], kind)
    original = baselines_module.Baselines._subtracted

    def scaled(self, options, factor, cost, scale, dims):
        # Dividing by the baseline in place of subtracting it: same idea of smaller costs, and biased.
        return cost - 0.1 * cost * original(self, options, factor, cost, scale, dims)

    monkeypatch.setattr(baselines_module.Baselines, "_subtracted", scaled)
    assert misses(case) > 1e-2


def test_a_baseline_that_is_not_detached_in_the_score_term_is_caught(monkeypatch):
    """The expected gradient of the guide cannot tell; the network's own can: it is that of the squared distance."""
    network_gradient = _gradient_of_a_stated_value()
    torch.testing.assert_close(network_gradient[0], network_gradient[1])
    original = baselines_module.Baselines._subtracted

    def attached(self, options, factor, cost, scale, dims):
        original(self, options, factor, cost, scale, dims)
        return cost - options.baseline_value

    monkeypatch.setattr(baselines_module.Baselines, "_subtracted", attached)
    found, wanted = _gradient_of_a_stated_value()
    assert (found - wanted).abs() > 1e-2


def _gradient_of_a_stated_value():
    """The gradient of a trained value in one estimate, and that of its squared distance from the costs."""
    value = D(0.25).requires_grad_()
    plain = GRAPH_CASES["score"]
    theta = plain.parameters()

    def guide(theta):
        fn = aleator.distributions.Bernoulli(logits=theta[0])
        aleator.sample("z", fn, infer={"baseline": {"baseline_value": value}})

    estimate = TraceGraph_ELBO().estimate(plain.model, guide, theta)
    # The one score's costs are the bound.
    return torch.autograd.grad(estimate.surrogate, value)[0], (2.0 * (value + estimate.loss)).detach()
