"""Subjects: classes, functions and registered names; what can be told about them without an estimate."""

from __future__ import annotations

from functools import partial

import pytest
import torch

from aleator_testing.mutants.objects import DrawsWhenMade
from aleator_testing.reference import ReferenceELBO
from aleator_testing.subject import Subject


@pytest.mark.parametrize(
    "factory",
    [ReferenceELBO, lambda **options: ReferenceELBO(**options), partial(ReferenceELBO, num_particles=2)],
    ids=["class", "function", "partial"],
)
def test_makes_with_overrides(factory):
    subject = Subject(factory)
    assert subject.estimator_class is ReferenceELBO
    assert subject.make(num_particles=3).num_particles == 3
    assert subject.accepts("num_particles")
    assert not subject.accepts("no_such_option")


def test_capabilities_by_name():
    subject = Subject(ReferenceELBO)
    assert subject.supports("non_reparam")
    assert subject.supports("score")
    assert not subject.supports("enumeration")
    assert not subject.supports("vimco")


@pytest.mark.parametrize(
    ("factory", "message"),
    [
        (3, "a registered name, but found int"),
        (lambda: "loss", "gave str, which is no AbstractEstimator"),
        (lambda num_particles: ReferenceELBO(num_particles), "cannot be made without arguments"),
    ],
)
def test_what_is_no_factory_is_refused(factory, message):
    with pytest.raises(TypeError, match=message):
        Subject(factory)


def test_an_unknown_name():
    with pytest.raises(LookupError, match="acme/NoSuch"):
        Subject("acme/NoSuch")


def test_looking_at_an_estimator_leaves_no_trace():
    """Catches a first object that is made in the caller's world: its draws would move the caller's stream."""
    before = torch.random.get_rng_state()
    Subject(DrawsWhenMade)
    assert torch.equal(before, torch.random.get_rng_state())
