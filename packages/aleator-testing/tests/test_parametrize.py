"""The kit as pytest tests, run by pytest itself."""

from __future__ import annotations

import subprocess
import sys

import pytest

from aleator_testing import parametrize_with_checks
from aleator_testing.reference import ReferenceELBO

PROGRAM = """
from aleator_testing import parametrize_with_checks
from aleator_testing.mutants.contract import ObjectiveAsLoss
from aleator_testing.reference import ReferenceELBO

REASONS = {"ObjectiveAsLoss": {"sign_convention": "its sign", "no_leak": "it does not fail"}}


@parametrize_with_checks([ReferenceELBO, ObjectiveAsLoss], expected_failures=REASONS)
def test_conformance(check):
    check()
"""


def test_one_test_per_estimator_and_check(tmp_path):
    """Passed, failed, skipped and expected to fail are pytest's own; an expected failure that passes fails."""
    file = tmp_path / "test_estimator.py"
    file.write_text(PROGRAM)
    command = [sys.executable, "-m", "pytest", "-q", "-rA", "-p", "no:cacheprovider", "-c", str(tmp_path / "none.ini")]
    (tmp_path / "none.ini").write_text("[pytest]\n")
    command += ["-k", "sign_convention or no_leak or enumeration_exact or diagnostics", str(file)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    reported = [line for line in done.stdout.splitlines() if "::" in line]
    lines = {line.partition("::")[2].split(" ")[0]: line.split(" ")[0] for line in reported}
    assert lines["test_conformance[ReferenceELBO-sign_convention]"] == "PASSED"
    assert lines["test_conformance[ObjectiveAsLoss-sign_convention]"] == "XFAIL"
    assert lines["test_conformance[ObjectiveAsLoss-no_leak]"] == "FAILED"
    assert lines["test_conformance[ObjectiveAsLoss-diagnostics_add_up]"] == "FAILED"
    assert "does not declare 'enumeration'" in done.stdout
    assert "docs/conformance.md#diagnostics-add-up" in done.stdout
    assert "2 failed, 3 passed, 2 skipped, " in done.stdout
    assert ", 1 xfailed in " in done.stdout


@pytest.mark.parametrize(
    ("expected", "message"),
    [
        ({"ReferenceELBO": {"no_such_check": "a reason"}}, "no_such_check"),
        ({"ReferenceELBO": {"no_leak": ""}}, "needs a reason"),
        ({"AnotherELBO": {"no_leak": "a reason"}}, "AnotherELBO"),
    ],
)
def test_expected_failures_of_nobody_are_refused(expected, message):
    """Catches a list that outlives its estimator or its check."""
    with pytest.raises(ValueError, match=message):
        parametrize_with_checks([ReferenceELBO], expected_failures=expected)


def test_the_kit_itself_does_without_pytest():
    """Catches an import at the top: pytest is an extra."""
    code = "import sys, aleator_testing as kit; kit.check_estimator, kit.parametrize_with_checks; "
    code += "assert 'pytest' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=300)
