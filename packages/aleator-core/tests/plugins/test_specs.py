from __future__ import annotations

import dataclasses

import pytest

from aleator.plugins import AlgorithmSpec, EstimatorSpec, HandlerSpec
from aleator.plugins.specs import AbstractSpec

GOOD = {"name": "acme/VRMax", "target": "acme_vr.estimator:VRMax", "summary": "Largest particle."}


@pytest.mark.parametrize("spec", [EstimatorSpec, HandlerSpec, AlgorithmSpec])
def test_a_spec_is_frozen_data(spec):
    made = spec(**GOOD)
    assert dataclasses.asdict(made) == GOOD
    assert made == spec(**GOOD)
    assert hash(made) == hash(spec(**GOOD))
    with pytest.raises(dataclasses.FrozenInstanceError):
        made.name = "acme/Other"


def test_the_base_is_abstract():
    with pytest.raises(TypeError, match="abstract"):
        AbstractSpec(**GOOD)


@pytest.mark.parametrize(
    "name", ["", "acme/", "/VRMax", "acme/VR Max", "Acme/VRMax", "a/b/C", "VR-Max", "1Max", "VRMax\n"]
)
def test_a_malformed_name_is_refused_with_the_form(name):
    with pytest.raises(ValueError, match="'vendor/Name', for example 'acme/VRMax'"):
        EstimatorSpec(**{**GOOD, "name": name})


@pytest.mark.parametrize("target", ["", "acme_vr.estimator", "acme_vr:", ":VRMax", "acme-vr:VRMax", "a:b:c", "a b:c"])
def test_a_malformed_target_is_refused_with_the_form(target):
    with pytest.raises(ValueError, match="'module:attribute'"):
        EstimatorSpec(**{**GOOD, "target": target})


def test_an_algorithm_may_be_a_module():
    assert AlgorithmSpec(**{**GOOD, "target": "acme_vr.functional"}).target == "acme_vr.functional"


@pytest.mark.parametrize("field", ["name", "target", "summary"])
def test_a_field_that_is_no_string_is_named(field):
    with pytest.raises(TypeError, match=rf"EstimatorSpec\({field}=...\)"):
        EstimatorSpec(**{**GOOD, field: 3})


@pytest.mark.parametrize("summary", ["", "  ", "two\nlines"])
def test_a_summary_is_one_line(summary):
    with pytest.raises(ValueError, match="summary"):
        HandlerSpec(**{**GOOD, "summary": summary})
