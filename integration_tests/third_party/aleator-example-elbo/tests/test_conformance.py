"""The estimator against the conformance kit: two lines and a test."""

from aleator_testing import parametrize_with_checks


@parametrize_with_checks(["example/VRMax"])
def test_conformance(check):
    check()
