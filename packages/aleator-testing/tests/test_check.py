"""What a check is made of, and that the kit's own are complete."""

from __future__ import annotations

import re

import pytest

from aleator_testing.catalogue import all_checks, find_check
from aleator_testing.check import GROUPS, check


def test_name_and_first_paragraph_of_a_function():
    @check(10, group="C", requires=["non_reparam"])
    def returns_estimate(subject):
        """The loss is
        a scalar.

        More.
        """

    assert (returns_estimate.id, returns_estimate.summary) == ("returns_estimate", "The loss is a scalar.")
    assert returns_estimate.requires == {"non_reparam"}
    assert returns_estimate.docs.endswith("docs/conformance.md#returns-estimate")


def test_a_check_says_what_it_checks():
    with pytest.raises(ValueError, match=r"silent.*needs a docstring"):

        @check(1, group="A")
        def silent(subject):
            pass


def test_the_list_of_the_kit_is_complete():
    """Catches a module of checks that lists none, and a number that nobody holds any more."""
    checks = all_checks()
    assert [each.group for each in checks] == sorted(each.group for each in checks)
    assert {each.group for each in checks} == set(GROUPS) - {"M"}  # handlers have a kit of their own
    wrappers_to_come = {39}  # compiled wrappers commute: checked where aleator-jit-estimators is
    assert {each.number for each in checks} | wrappers_to_come == set(range(1, 41))
    assert all(re.fullmatch("[a-z][a-z_]+", each.id) and each.summary.endswith(".") for each in checks)


def test_found_by_id():
    assert find_check("no_leak").number == 18
    with pytest.raises(LookupError, match="no_such_check"):
        find_check("no_such_check")
