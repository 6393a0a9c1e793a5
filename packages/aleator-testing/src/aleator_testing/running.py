"""Runs checks one by one, each in a world of its own, and says how they ended."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import copy_context
from difflib import get_close_matches

import torch

import aleator
from aleator import ParamStore
from aleator.infer import AbstractEstimator
from aleator.randomness import preserve
from aleator.settings import validation_enabled
from aleator_testing.catalogue import all_checks
from aleator_testing.check import Check, CheckFailure, Level, NotApplicable
from aleator_testing.report import Outcome, Report
from aleator_testing.subject import Subject

__all__ = ["check_estimator", "checks_for", "require_reasons", "run_check", "run_checks"]


def check_estimator(
    factory: Callable[..., AbstractEstimator] | str,
    *,
    expected_failures: Mapping[str, str] | None = None,
    level: Level = "fast",
) -> Report:
    """Run the conformance checks on an estimator.

    Args:
        factory: the estimator's class, a function ``(**overrides) -> estimator``, or a registered name.
        expected_failures: reasons by check id; a check that then passes is reported as an unexpected pass.
        level: ``"fast"``, or ``"full"`` with the statistical checks too.

    Returns:
        A ``Report``; ``report.ok`` and ``report.raise_for_failures()`` say whether all is well.

    Raises:
        ValueError: an id in ``expected_failures`` is unknown, or has no reason.

    Example:
        >>> from aleator_testing import check_estimator
        >>> from aleator_testing.reference import ReferenceELBO
        >>> check_estimator(ReferenceELBO).ok
        True
    """
    return run_checks(Subject(factory), checks_for(level), expected_failures)


def checks_for(level: Level) -> tuple[Check, ...]:
    """Return the checks of a level, in the order of their groups."""
    if level not in ("fast", "full"):
        raise ValueError(f"level must be 'fast' or 'full', but is {level!r}")
    return tuple(each for each in all_checks() if level == "full" or each.level == "fast")


def run_checks(subject: Subject, checks: Iterable[Check], expected_failures: Mapping[str, str] | None = None) -> Report:
    """Run checks on a subject and report."""
    expected = require_reasons(expected_failures)
    checks = tuple(checks)
    outcomes = tuple(run_check(subject, each, expected.get(each.id)) for each in checks)
    level = "full" if any(each.level == "full" for each in checks) else "fast"
    return Report(subject.name, level, outcomes)


def require_reasons(expected_failures: Mapping[str, str] | None) -> dict[str, str]:
    """Return the reasons by check id.

    Raises:
        ValueError: a check does not exist, or its reason is empty.
    """
    known = {each.id for each in all_checks()}
    for name, reason in (expected_failures or {}).items():
        if name not in known:
            near = get_close_matches(name, known, 1)
            raise ValueError(
                f"expected_failures names the check {name!r}, which does not exist"
                f"{f'; did you mean {near[0]!r}?' if near else ''}"
            )
        if not reason.strip():
            raise ValueError(f"expected_failures[{name!r}] needs a reason")
    return dict(expected_failures or {})


def run_check(subject: Subject, check: Check, expected_failure: str | None = None) -> Outcome:
    """Run one check; whatever the estimator raises is a failure, never an exception of the kit."""
    lacking = sorted(each for each in check.requires if not subject.supports(each))
    if lacking:
        return Outcome(check, "skipped", f"{subject.name} does not declare {', '.join(map(repr, lacking))}")
    started = time.perf_counter()
    try:
        # In a context of its own: what a broken estimator leaves on the stack must not reach the next check.
        copy_context().run(_run_in_own_world, check, subject)
    except NotApplicable as reason:
        return Outcome(check, "skipped", str(reason), time.perf_counter() - started)
    except CheckFailure as failure:
        return _failed(check, str(failure), expected_failure, started)
    except Exception as error:  # noqa: BLE001  # an estimator may raise anything: that is what the check found
        return _failed(check, f"{type(error).__name__}: {error}", expected_failure, started)
    if expected_failure is not None:
        message = f"was expected to fail ({expected_failure}), but passes: take it off expected_failures"
        return Outcome(check, "unexpected pass", message, time.perf_counter() - started)
    return Outcome(check, "passed", "", time.perf_counter() - started)


def _failed(check: Check, message: str, expected_failure: str | None, started: float) -> Outcome:
    seconds = time.perf_counter() - started
    if expected_failure is not None:
        return Outcome(check, "expected failure", expected_failure, seconds)
    return Outcome(check, "failed", f"{message}\n(see {check.docs})", seconds)


def _run_in_own_world(check: Check, subject: Subject) -> None:
    with _own_world():
        check.run(subject)


@contextmanager
def _own_world() -> Iterator[None]:
    """Give a check its own store, random numbers and settings, with warnings as errors; leave the caller's alone."""
    with preserve(), ParamStore(), validation_enabled(True), warnings.catch_warnings():
        warnings.simplefilter("error")  # noqa: TID251  # for the extent of a check, and put back after it
        # That torch finds no numpy is said once per process, to whom it meets first: no estimator could help it.
        warnings.filterwarnings("ignore", message=".*[Nn]um[Pp]y.*")  # noqa: TID251  # as above
        with torch.enable_grad():
            aleator.set_rng_seed(20)
            yield
