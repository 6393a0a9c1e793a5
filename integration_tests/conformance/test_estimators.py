"""The kit over every estimator that is installed: the official ones, and the example of an external package."""

from __future__ import annotations

import pytest
from subjects import EXPECTED_FAILURES, available_official_bounds, registered_estimators

from aleator.plugins import registry
from aleator_testing import parametrize_with_checks
from aleator_testing.running import checks_for

ESTIMATORS = registered_estimators()


@parametrize_with_checks(ESTIMATORS, expected_failures=EXPECTED_FAILURES)
def test_conformance(check):
    check()


@pytest.mark.slow
@parametrize_with_checks(ESTIMATORS, expected_failures=EXPECTED_FAILURES, level="full")
def test_conformance_at_length(check):
    check()


def test_no_official_estimator_is_left_out():
    """Catches a plugin that fails to load, or a class that is not registered: its estimators would go unchecked."""
    assert not [plugin.failures for plugin in registry.current().plugins if plugin.failures]
    assert available_official_bounds() <= set(ESTIMATORS)


def test_expected_failures_are_of_estimators_and_checks_that_exist():
    checks = {check.id for check in checks_for("full")}
    for name, reasons in EXPECTED_FAILURES.items():
        assert name in ESTIMATORS
        assert set(reasons) <= checks
        assert all(reasons.values())
