"""loss, differentiable_loss and loss_and_grads agree; particles in a loop and as a tensor dim agree."""

from __future__ import annotations

import gc
import math
import weakref
from dataclasses import dataclass
from typing import ClassVar

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator.handlers import Messenger
from aleator.infer import Capabilities, analyse
from aleator.ops import logsumexp
from aleator_svi_elbo import ELBO, Trace_ELBO
from aleator_svi_elbo.tracing import SharedSubsample
from exact_expectation import D

DATA = D([0.3, -0.7, 1.1, 0.4])
ONE = D(1.0)


def model(data):
    shift = aleator.sample("shift", dist.Normal(D(0.0), ONE))
    with aleator.plate("data", 4, subsample_size=2) as rows:
        side = aleator.sample("side", dist.Bernoulli(D(0.4)))
        aleator.sample("x", dist.Normal(shift + side, ONE), obs=data[rows])


def guide(data):
    loc = aleator.param("loc", D(0.5))
    logits = aleator.param("logits", torch.zeros(4, dtype=torch.float64))
    aleator.sample("shift", dist.Normal(loc, D(0.7)))
    with aleator.plate("data", 4, subsample_size=2) as rows:
        aleator.sample("side", dist.Bernoulli(logits=logits[rows]))


FORMS = [
    pytest.param({}, id="one"),
    pytest.param({"num_particles": 3}, id="looped"),
    pytest.param({"num_particles": 3, "vectorize_particles": True, "max_plate_nesting": 1}, id="vectorized"),
    pytest.param({"num_particles": 3, "vectorize_particles": True}, id="guessed"),
]


@pytest.mark.parametrize("options", FORMS)
def test_three_ways_to_the_loss_agree(options):
    """SEMANTICS 5: Same seed: one value from all three, and one gradient from the two that have one."""
    estimator = Trace_ELBO(**options)
    with aleator.ParamStore() as store:
        with aleator.rng(1):
            value = estimator.loss(model, guide, DATA)
        with aleator.rng(1):
            differentiable = estimator.differentiable_loss(model, guide, DATA)
        leaves = [store.unconstrained(name) for name in ("loc", "logits")]
        grads = torch.autograd.grad(differentiable, leaves)
        with aleator.rng(1):
            value_again = estimator.loss_and_grads(model, guide, DATA)
        assert differentiable.dim() == 0
        assert math.isclose(value, float(differentiable.detach()), rel_tol=1e-12)
        assert math.isclose(value, value_again, rel_tol=1e-12)
        for leaf, grad in zip(leaves, grads, strict=True):
            torch.testing.assert_close(leaf.grad, grad, rtol=1e-12, atol=1e-14)
        assert float(grads[0]) != 0.0


def test_loss_keeps_no_graph_and_loss_and_grads_adds():
    """``loss`` runs without grad; a second ``loss_and_grads`` adds to ``.grad`` as torch's backward does."""
    with aleator.ParamStore() as store:
        seen = []

        class Watch(Messenger):
            def postprocess_sample(self, site):
                seen.append(site.value.requires_grad)

        with Watch():
            Trace_ELBO().loss(model, guide, DATA)
        assert not any(seen)
        for _ in range(2):
            with aleator.rng(1):
                Trace_ELBO().loss_and_grads(model, guide, DATA)
        twice = store.unconstrained("loc").grad.clone()
        store.unconstrained("loc").grad = None
        with aleator.rng(1):
            Trace_ELBO().loss_and_grads(model, guide, DATA)
        torch.testing.assert_close(twice, 2.0 * store.unconstrained("loc").grad)


def test_an_infinite_loss_stays_infinite():
    """A model that cannot have made the data: minus infinity is reported, not NaN."""

    def impossible(data):
        aleator.sample("z", dist.Normal(D(0.0), ONE))
        aleator.factor("impossible", D(-math.inf))

    def simple_guide(data):
        aleator.sample("z", dist.Normal(aleator.param("loc", D(0.0)), ONE))

    with aleator.ParamStore():
        assert Trace_ELBO().loss(impossible, simple_guide, DATA) == math.inf
        assert float(Trace_ELBO().differentiable_loss(impossible, simple_guide, DATA).detach()) == math.inf


def test_programs_without_latents_or_sites():
    """Nothing to infer is no error: the loss is minus the log-likelihood, or zero."""

    def observed(data):
        with aleator.plate("data", 4):
            aleator.sample("x", dist.Normal(D(0.0), ONE), obs=data)

    def nothing(data):
        pass

    expected = -float(torch.distributions.Normal(0.0, 1.0).log_prob(DATA).sum())
    for options in ({}, {"num_particles": 3}, {"num_particles": 3, "vectorize_particles": True}):
        estimator = Trace_ELBO(**options)
        assert math.isclose(estimator.loss(observed, nothing, DATA), expected, rel_tol=1e-12)
        assert estimator.loss(nothing, nothing, DATA) == 0.0


class Rows(Messenger):
    """Gives particle k of the guide the k-th row: one by one in a loop, all at once as a tensor dim."""

    def __init__(self, vectorized, **rows):
        self._vectorized = vectorized
        self._rows = rows
        self._turn = dict.fromkeys(rows, 0)

    def process_subsample(self, site):
        if site.name == "data" and site.value is None:
            site.value = torch.tensor([3, 1])

    def process_sample(self, site):
        if site.value is None and site.name in self._rows:
            rows = self._rows[site.name]
            if self._vectorized:
                if not any(frame.name == "num_particles_vectorized" for frame in site.frames):
                    return  # the run that guesses the nesting
                site.value = rows if rows.dim() == 2 else rows[:, None]
            else:
                site.value = rows[self._turn[site.name]]
                self._turn[site.name] += 1


def test_vectorized_equals_looped():
    """SEMANTICS 6: The same draws give the same loss and gradient in both forms; num_particles divides once in each."""
    shift, side = D([0.1, -0.4, 0.9]), D([[0.0, 1.0], [1.0, 1.0], [0.0, 0.0]])
    found = []
    with aleator.ParamStore() as store:
        for vectorized in (False, True):
            estimator = Trace_ELBO(num_particles=3, vectorize_particles=vectorized, max_plate_nesting=1)
            with Rows(vectorized, shift=shift, side=side):
                estimate = estimator.estimate(model, guide, DATA)
            leaves = [store.unconstrained(name) for name in ("loc", "logits")]
            found.append((estimate.loss, *torch.autograd.grad(estimate.surrogate, leaves, allow_unused=True)))
            assert estimate.aux.keys() == {"elbo/shift", "elbo/side", "elbo/x"}
            torch.testing.assert_close(-sum(estimate.aux.values()), estimate.loss)
        torch.testing.assert_close(found[0], found[1], rtol=1e-12, atol=1e-14)


def test_the_particle_plate_has_its_name_and_dim():
    """SEMANTICS 6.

    ``num_particles_vectorized`` at dim -(max_plate_nesting + 1), stated or guessed; none for one particle.
    """
    shapes = {}

    class Watch(Messenger):
        def postprocess_plate(self, site):
            shapes[site.name] = site.value.dim

    for options in ({"max_plate_nesting": 1}, {}):
        shapes.clear()
        estimator = Trace_ELBO(num_particles=2, vectorize_particles=True, **options)
        with aleator.ParamStore(), Watch():
            estimator.loss(model, guide, DATA)
        assert shapes == {"num_particles_vectorized": -2, "data": -1}
    shapes.clear()
    with aleator.ParamStore(), Watch():
        Trace_ELBO(num_particles=1, vectorize_particles=True).loss(model, guide, DATA)
    assert shapes == {"data": -1}


@pytest.mark.parametrize("source", [None, 7], ids=["process", "own"])
def test_the_guess_leaves_the_stream_alone(source):
    """SEMANTICS 7: Guessing the nesting draws nothing that anybody sees: same draws as with the nesting stated."""
    losses = []
    for nesting in (math.inf, 1):

        def fresh_model(data, model=model):  # a code object of its own has no cached structure
            return model(data)

        with aleator.ParamStore():
            aleator.set_rng_seed(7)
            estimator = Trace_ELBO(num_particles=3, vectorize_particles=True, max_plate_nesting=nesting)
            with aleator.rng(source):
                losses.append(estimator.loss(fresh_model, guide, DATA))
                losses.append(estimator.loss(fresh_model, guide, DATA))
    assert losses[:2] == losses[2:]
    assert losses[0] != losses[1]


def test_model_and_guide_run_once_per_particle():
    """One estimate calls each program num_particles times in a loop and once vectorized; the guess adds one, once."""
    calls = []

    def counted_model(data):
        calls.append("model")
        model(data)

    def counted_guide(data):
        calls.append("guide")
        guide(data)

    with aleator.ParamStore():
        for options, expected in (
            ({}, 1),
            ({"num_particles": 3}, 3),
            ({"num_particles": 3, "vectorize_particles": True, "max_plate_nesting": 1}, 1),
            ({"num_particles": 3, "vectorize_particles": True}, 2),
            ({"num_particles": 3, "vectorize_particles": True}, 1),
        ):
            calls.clear()
            Trace_ELBO(**options).loss(counted_model, counted_guide, DATA)
            assert calls == ["guide", "model"] * expected


def test_a_stated_nesting_that_is_too_small_is_refused():
    """Three particles on dim -1 and three data beside them would pass for each other in silence."""
    three = DATA[:3]

    def whole_model(data):
        z = aleator.sample("z", dist.Normal(D(0.0), ONE))
        with aleator.plate("data", 3):
            aleator.sample("x", dist.Normal(z, ONE), obs=data)

    def whole_guide(data):
        aleator.sample("z", dist.Normal(D(0.0), ONE))

    with pytest.raises(ValueError, match=r"plate 'data' needs more than the 0 tensor dims.*max_plate_nesting"):
        Trace_ELBO(num_particles=3, vectorize_particles=True, max_plate_nesting=0).loss(whole_model, whole_guide, three)


def test_a_nesting_that_has_grown_is_found_again():
    """A program that reads the world may nest deeper than when it was guessed: the cached guess is no authority."""
    world = {"deep": False}

    def changing_model(data):
        z = aleator.sample("z", dist.Normal(D(0.0), ONE))
        if world["deep"]:
            with aleator.plate("all", 4):
                aleator.sample("x", dist.Normal(z, ONE), obs=data)

    def changing_guide(data):
        aleator.sample("z", dist.Normal(D(0.0), ONE))

    estimator = Trace_ELBO(num_particles=4, vectorize_particles=True)
    assert estimator.loss(changing_model, changing_guide, DATA) == 0.0
    world["deep"] = True
    values = D([0.1, -0.2, 0.3, 0.5])
    with Rows(True, z=values):
        found = estimator.loss(changing_model, changing_guide, DATA)
    normal = torch.distributions.Normal(values[:, None], 1.0)
    assert math.isclose(found, -float(normal.log_prob(DATA).sum(1).mean()), rel_tol=1e-12)


@dataclass(frozen=True, repr=False)
class IWAE(ELBO):
    capabilities: ClassVar[Capabilities] = Capabilities(non_reparam=True, vectorized_particles=True, bound="iwae")

    def reduce(self, terms):
        bound = logsumexp(terms.log_weight, 0) - math.log(terms.log_weight.shape[0])
        return bound, bound + terms.score.sum(0) * bound.detach()


def minibatches(estimator, form="estimate"):
    """The indices that every run of the programs saw, as tuples."""
    seen = []

    class Watch(Messenger):
        def postprocess_subsample(self, site):
            if site.name == "data":
                seen.append(tuple(site.value.tolist()))

    with aleator.ParamStore(), Watch(), aleator.rng(3):
        if form == "estimate":
            estimator.estimate(model, guide, DATA)
        else:
            list(estimator.estimates(model, guide, DATA))
    return seen


@pytest.mark.parametrize("estimator", [Trace_ELBO(num_particles=4), IWAE(num_particles=4)])
@pytest.mark.parametrize("form", ["estimate", "estimates"])
def test_particles_share_the_minibatch(estimator, form, monkeypatch):
    """Eight runs, one minibatch; a fresh one per particle (the broken twin below) is seen."""
    seen = minibatches(estimator, form)
    assert len(seen) == 8
    assert len(set(seen)) == 1
    monkeypatch.setattr(SharedSubsample, "process_table", {})
    assert len(set(minibatches(estimator, form))) > 1


@pytest.mark.parametrize("estimator", [Trace_ELBO(num_particles=3), IWAE(num_particles=3)])
def test_particles_share_a_minibatch_that_only_the_model_draws(estimator):
    """An amortized or global guide has no plate: the model's indices are shared all the same."""
    seen = []

    class Watch(Messenger):
        def postprocess_subsample(self, site):
            seen.append(tuple(site.value.tolist()))

    def plated_model():
        z = aleator.sample("z", dist.Normal(D(0.0), ONE))
        with aleator.plate("data", 100, subsample_size=2):
            aleator.sample("x", dist.Normal(z, ONE), obs=DATA[:2])

    def plain_guide():
        aleator.sample("z", dist.Normal(D(0.0), ONE))

    with Watch(), aleator.rng(0):
        estimator.loss(plated_model, plain_guide)
    assert len(seen) == 3
    assert len(set(seen)) == 1


def test_the_guide_and_the_model_share_the_minibatch_and_steps_do_not():
    """One minibatch in an estimate, another in the next."""
    assert len(set(minibatches(Trace_ELBO()))) == 1
    seen = []

    class Watch(Messenger):
        def postprocess_subsample(self, site):
            seen.append(tuple(site.value.tolist()))

    with aleator.ParamStore(), Watch(), aleator.rng(0):
        for _ in range(6):
            Trace_ELBO().loss(model, guide, DATA)
    assert len(set(seen)) > 1


def traces_alive_at_once(form, particles):
    """The largest number of particles whose observed distributions are alive at one time."""
    alive: list[weakref.ref] = []
    most = 0

    class Watch(Messenger):
        def postprocess_sample(self, site):
            nonlocal most
            if site.name == "x":
                alive.append(weakref.ref(site.fn))
                gc.collect()
                most = max(most, sum(ref() is not None for ref in alive))

    with aleator.ParamStore(), Watch():
        form(Trace_ELBO(num_particles=particles))
    return most


@pytest.mark.parametrize(
    "form",
    [
        pytest.param(lambda e: e.loss_and_grads(model, guide, DATA), id="loss_and_grads"),
        pytest.param(lambda e: e.loss(model, guide, DATA), id="loss"),
    ],
)
def test_memory_does_not_grow_with_the_number_of_particles(form):
    """SEMANTICS 5: At most the particle at work and the one before it are alive; differentiable_loss needs them all."""
    assert traces_alive_at_once(form, 5) <= 2
    assert traces_alive_at_once(lambda e: kept.append(e.differentiable_loss(model, guide, DATA)), 5) > 2


kept: list[torch.Tensor] = []


def test_retain_graph_keeps_the_graph():
    """With retain_graph the graph that the parameters share may be walked again; without, torch refuses."""
    leaf = D(0.5).requires_grad_()
    for retain in (None, True):
        shared = leaf.exp() * leaf  # its multiplication keeps tensors for the backward pass

        def shared_guide(data, shared=shared):
            aleator.sample("shift", dist.Normal(shared, ONE))

        def shared_model(data):
            aleator.sample("shift", dist.Normal(D(0.0), ONE))

        estimator = Trace_ELBO(retain_graph=retain)
        estimator.loss_and_grads(shared_model, shared_guide, DATA)
        if retain:
            estimator.loss_and_grads(shared_model, shared_guide, DATA)
        else:
            with pytest.raises(RuntimeError, match="second time"):
                estimator.loss_and_grads(shared_model, shared_guide, DATA)


def test_the_structure_that_the_guess_reads_is_the_programs():
    assert analyse(model, guide, DATA).nesting == 1
