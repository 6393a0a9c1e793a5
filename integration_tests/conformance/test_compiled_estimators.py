"""The kit through ``compile``, for the estimators that have no ``Jit`` name; those that have one are registered."""

from __future__ import annotations

from compiled_subjects import CompiledIWAE, CompiledRenyi
from subjects import COMPILED_FAILURES

from aleator_testing import parametrize_with_checks

ESTIMATORS = [CompiledRenyi, CompiledIWAE]
EXPECTED = {each.__name__: COMPILED_FAILURES for each in ESTIMATORS}


@parametrize_with_checks(ESTIMATORS, expected_failures=EXPECTED)
def test_conformance(check):
    check()
