"""The kit as a decorator for pytest: one test per estimator and check."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, final

from aleator.infer import AbstractEstimator
from aleator_testing.check import Level
from aleator_testing.running import checks_for, require_reasons, run_check
from aleator_testing.subject import Subject

if TYPE_CHECKING:
    import pytest

__all__ = ["parametrize_with_checks"]


def parametrize_with_checks(
    estimators: Iterable[Callable[..., AbstractEstimator] | str],
    *,
    expected_failures: Mapping[str, Mapping[str, str]] | None = None,
    level: Level = "fast",
) -> pytest.MarkDecorator:
    """Parametrize a test over estimators and checks; the test calls its one argument, ``check``.

    Args:
        estimators: classes, factories or registered names.
        expected_failures: for an estimator's name, reasons by check id; such a test is a strict xfail.
        level: which checks.

    Raises:
        ValueError: ``expected_failures`` names an estimator that is not among these, a check that does not exist, or
            has no reason.
        ImportError: pytest is not installed; ``pip install "aleator-testing[pytest]"``.

    Example:
        >>> from aleator_testing import parametrize_with_checks
        >>> from aleator_testing.reference import ReferenceELBO
        >>> @parametrize_with_checks([ReferenceELBO])
        ... def test_conformance(check):
        ...     check()
    """
    import pytest

    expected = expected_failures or {}
    cases: list[Any] = []
    subjects = [Subject(factory) for factory in estimators]
    if strangers := sorted(set(expected) - {subject.name for subject in subjects}):
        raise ValueError(f"expected_failures names {strangers}, which are not among the estimators that are checked")
    for subject in subjects:
        reasons = require_reasons(expected.get(subject.name))
        for each in checks_for(level):
            marks = [pytest.mark.xfail(reason=reasons[each.id], strict=True)] if each.id in reasons else []
            cases.append(pytest.param(_Case(subject, each), id=f"{subject.name}-{each.id}", marks=marks))
    return pytest.mark.parametrize("check", cases)


@final
class _Case:
    """One check of one estimator, to be called in a test."""

    def __init__(self, subject: Subject, check: Any) -> None:  # noqa: ANN401  # a Check
        self._subject = subject
        self._check = check

    def __call__(self) -> None:
        """Run the check; skip or fail the test as it says."""
        import pytest

        outcome = run_check(self._subject, self._check)
        if outcome.status == "skipped":
            pytest.skip(outcome.message)
        if not outcome.ok:
            pytest.fail(f"{self._subject.name}, {self._check.id}: {outcome.message}", pytrace=False)

    def __repr__(self) -> str:
        return f"{self._subject.name}-{self._check.id}"
