"""ELBO() as the way in, and what an estimator is as an object."""

from __future__ import annotations

import copy
import math
import pickle
from dataclasses import FrozenInstanceError, dataclass
from typing import ClassVar

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator.errors import MissingPluginError
from aleator.infer import AbstractEstimator, Capabilities, Estimate, get_estimator, is_available
from aleator_svi_elbo import ELBO, Trace_ELBO


def test_the_front_door_gives_trace_elbo():
    assert ELBO() == Trace_ELBO()
    assert type(ELBO(num_particles=3)) is Trace_ELBO
    assert get_estimator("ELBO") is ELBO
    assert isinstance(ELBO(), ELBO)
    assert isinstance(ELBO(), AbstractEstimator)


def test_arguments_go_by_position():
    """ELBO(num_particles, trace_graph, enum_discrete); an estimator: the seven in the listed order."""
    assert ELBO(3, False, False, retain_graph=True) == Trace_ELBO(num_particles=3, retain_graph=True)
    stated = Trace_ELBO(2, 3, None, True, False, True, True)
    assert stated == Trace_ELBO(
        num_particles=2,
        max_plate_nesting=3,
        max_iarange_nesting=None,
        vectorize_particles=True,
        strict_enumeration_warning=False,
        ignore_jit_warnings=True,
        retain_graph=True,
    )


def test_a_door_to_an_estimator_that_is_not_there_says_where_to_get_it():
    for keywords, name, provider in (
        ({"trace_graph": True}, "TraceGraph_ELBO", "aleator-svi-elbo"),
        ({"enum_discrete": True}, "TraceEnum_ELBO", "aleator-enum-discrete"),
    ):
        if is_available(name):
            assert type(ELBO(**keywords)).__name__ == name
        else:
            with pytest.raises(MissingPluginError, match=rf"{name} is provided by {provider}.*pip install"):
                ELBO(**keywords)
    with pytest.raises(ValueError, match="exclude each other"):
        ELBO(trace_graph=True, enum_discrete=True)


def test_an_unknown_name_of_the_package_is_an_attribute_error():
    import aleator_svi_elbo

    with pytest.raises(AttributeError, match="has no attribute 'Trace_ELBOW'"):
        _ = aleator_svi_elbo.Trace_ELBOW
    assert {"ELBO", "SVI", "Trace_ELBO", "EarlyStopping"} <= set(dir(aleator_svi_elbo))


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"num_particles": 0}, "num_particles must be a positive int, but is 0"),
        ({"num_particles": True}, "num_particles must be a positive int, but is True"),
        ({"num_particles": 1.5}, "num_particles must be a positive int, but is 1.5"),
        ({"max_plate_nesting": -1}, "max_plate_nesting must be an int of at least 0, or math.inf, but is -1"),
        ({"max_plate_nesting": 1.5}, "max_plate_nesting must be an int of at least 0, or math.inf, but is 1.5"),
        ({"max_plate_nesting": "1"}, "max_plate_nesting must be an int of at least 0, or math.inf, but is '1'"),
        ({"max_plate_nesting": math.nan}, "max_plate_nesting must be an int of at least 0, or math.inf, but is nan"),
    ],
)
def test_arguments_are_checked(keywords, message):
    for make in (Trace_ELBO, ELBO):
        with pytest.raises(ValueError, match=message):
            make(**keywords)


def test_unknown_keywords_raise():
    for make in (Trace_ELBO, ELBO):
        with pytest.raises(TypeError, match="num_particals"):
            make(num_particals=3)


def test_the_old_name_of_the_nesting_warns():
    with pytest.warns(DeprecationWarning, match="write max_plate_nesting"):
        estimator = Trace_ELBO(max_iarange_nesting=2)
    assert estimator == Trace_ELBO(max_plate_nesting=2)


def test_an_estimator_is_a_frozen_value():
    estimator = Trace_ELBO(num_particles=2)
    with pytest.raises(FrozenInstanceError):
        estimator.num_particles = 3
    assert hash(estimator) == hash(Trace_ELBO(num_particles=2))
    assert estimator != Trace_ELBO(num_particles=3)
    for twin in (pickle.loads(pickle.dumps(estimator)), copy.deepcopy(estimator), copy.copy(estimator)):
        assert twin == estimator
        assert type(twin) is Trace_ELBO
    assert repr(estimator) == "Trace_ELBO(num_particles=2)"
    assert eval(repr(estimator)) == estimator


def model():
    z = aleator.sample("z", dist.Normal(0.0, 1.0))
    with aleator.plate("data", 3):
        aleator.sample("x", dist.Normal(z, 1.0), obs=torch.ones(3))


def guide():
    aleator.sample("z", dist.Normal(aleator.param("loc", 0.0), 1.0))


def other():
    with aleator.plate("rows", 2, dim=-2), aleator.plate("columns", 2, dim=-1):
        aleator.sample("y", dist.Normal(0.0, 1.0))


def test_use_changes_nothing_in_the_estimator():
    """Two programs, in turn, through one object: each gets what a fresh estimator gives; the object stays as it was."""
    shared = Trace_ELBO(num_particles=2, vectorize_particles=True)
    before = pickle.dumps(shared)

    def value(estimator, pair):
        with aleator.ParamStore(), aleator.rng(0):
            return estimator.loss(*pair)

    pairs = ((model, guide), (other, other), (model, guide))
    found = [value(shared, pair) for pair in pairs]
    assert found == [value(Trace_ELBO(num_particles=2, vectorize_particles=True), pair) for pair in pairs]
    assert pickle.dumps(shared) == before
    assert vars(shared) == vars(Trace_ELBO(num_particles=2, vectorize_particles=True))


def test_estimate_writes_nothing():
    """Neither a gradient, nor a value, nor a buffer."""
    with aleator.ParamStore() as store:
        Trace_ELBO().loss(model, guide)
        before = store.get_state()
        Trace_ELBO(num_particles=2).estimate(model, guide)
        after = store.get_state()
        assert store.unconstrained("loc").grad is None
        assert before["params"] == after["params"]
        assert before["buffers"] == after["buffers"] == {}


def test_a_subclass_is_the_driver():
    """Subclassed, ELBO is no front door: the subclass makes itself, and its mean is the default."""

    @dataclass(frozen=True, repr=False)
    class Own(ELBO):
        capabilities: ClassVar[Capabilities] = Capabilities(non_reparam=True)

    assert type(Own(2)) is Own
    with aleator.ParamStore():
        with aleator.rng(0):
            own = Own(2).loss(model, guide)
        with aleator.rng(0):
            assert own == Trace_ELBO(2).loss(model, guide)


def test_what_an_estimate_holds():
    with aleator.ParamStore():
        estimate = Trace_ELBO(num_particles=2).estimate(model, guide)
    assert isinstance(estimate, Estimate)
    assert not estimate.loss.requires_grad
    assert estimate.surrogate.requires_grad
    assert set(estimate.aux) == {"elbo/z", "elbo/x"}
    assert all(not term.requires_grad and term.dim() == 0 for term in estimate.aux.values())
    with pytest.raises(KeyError):
        estimate.aux["elbo/y"]
    torch.testing.assert_close(sum(estimate.aux.values()), -estimate.loss)
    assert estimate.updates == {}


def test_capabilities_are_stated():
    stated = Trace_ELBO.capabilities
    assert stated.non_reparam
    assert stated.vectorized_particles
    assert stated.subsampling
    assert not stated.enumeration
    assert stated.gradient_rules == {"pathwise", "score", "stl"}


def test_an_estimator_that_needs_reparameterized_draws_refuses_others():
    @dataclass(frozen=True, repr=False)
    class Pathwise(ELBO):
        capabilities: ClassVar[Capabilities] = Capabilities()

    def discrete():
        aleator.sample("z", dist.Bernoulli(0.5))

    with pytest.raises(ValueError, match=r"guide site 'z' has no reparameterized draw \(Bernoulli\)"):
        Pathwise().loss(discrete, discrete)
