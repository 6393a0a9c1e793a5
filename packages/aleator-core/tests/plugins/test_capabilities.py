from __future__ import annotations

import dataclasses

import pytest

from aleator.plugins import Capabilities


def test_defaults_describe_one_pathwise_sample_of_the_evidence_lower_bound():
    found = Capabilities()
    assert (found.non_reparam, found.enumeration, found.vectorized_particles) == (False, False, False)
    assert (found.subsampling, found.compilable) == (True, True)
    assert found.gradient_rules == frozenset({"pathwise"})
    assert found.bound == "elbo"


def test_frozen_and_by_keyword_only():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Capabilities().bound = "iwae"  # type: ignore[misc]  # what is tested
    with pytest.raises(TypeError):
        Capabilities(True)  # type: ignore[misc]  # what is tested


@pytest.mark.parametrize(
    ("field", "value"), [("enumeration", 1), ("compilable", None), ("gradient_rules", {"score"}), ("bound", None)]
)
def test_a_field_of_the_wrong_type_is_named(field, value):
    with pytest.raises(TypeError, match=field):
        Capabilities(**{field: value})


def test_empty_names_are_refused():
    with pytest.raises(ValueError, match="empty"):
        Capabilities(bound="")
    with pytest.raises(ValueError, match="empty"):
        Capabilities(gradient_rules=frozenset({""}))
