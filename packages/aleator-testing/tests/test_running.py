"""How checks end, and that nothing of them is left behind."""

from __future__ import annotations

import threading
import warnings

import pytest
import torch

import aleator
from aleator.runtime import STACK
from aleator.settings import validation_enabled
from aleator_testing import CheckFailure, check_estimator
from aleator_testing.catalogue import find_check
from aleator_testing.check import Check, NotApplicable
from aleator_testing.mutants.contract import LeaksHandler
from aleator_testing.reference import ReferenceELBO
from aleator_testing.running import checks_for, run_check, run_checks
from aleator_testing.subject import Subject

SUBJECT = Subject(ReferenceELBO)


def a_check(run, requires=()):
    return Check("a_check", 1, "C", "A check.", "fast", frozenset(requires), "nothing", run)


def raising(error):
    def run(subject):
        raise error

    return a_check(run)


@pytest.mark.parametrize(
    ("check", "status", "message"),
    [
        (a_check(lambda subject: None), "passed", ""),
        (raising(CheckFailure("expected 1, found 2")), "failed", "expected 1, found 2"),
        (raising(NotApplicable("no such package")), "skipped", "no such package"),
        (a_check(lambda subject: None, ["enumeration"]), "skipped", "does not declare 'enumeration'"),
        (raising(NotImplementedError("later")), "failed", "NotImplementedError: later"),
        (a_check(lambda subject: warnings.warn("careful", stacklevel=1)), "failed", "UserWarning: careful"),
    ],
)
def test_how_a_check_ends(check, status, message):
    """An error in the estimator is a failure whatever its type: skips come from what is declared alone."""
    outcome = run_check(SUBJECT, check)
    assert outcome.status == status
    assert message in outcome.message
    assert outcome.ok is (status != "failed")


def test_a_failure_names_its_place_in_the_docs():
    assert "docs/conformance.md#a-check" in run_check(SUBJECT, raising(CheckFailure("wrong"))).message


def test_expected_failures_are_strict():
    reason = "known, and here is why"
    failed = run_check(SUBJECT, raising(CheckFailure("wrong")), reason)
    assert (failed.status, failed.message, failed.ok) == ("expected failure", reason, True)
    passed = run_check(SUBJECT, a_check(lambda subject: None), reason)
    assert (passed.status, passed.ok) == ("unexpected pass", False)
    assert reason in passed.message


@pytest.mark.parametrize(
    ("expected", "message"),
    [({"no_leaks": "a reason"}, "did you mean 'no_leak'"), ({"no_leak": "  "}, "needs a reason")],
)
def test_expected_failures_that_say_nothing_are_refused(expected, message):
    with pytest.raises(ValueError, match=message):
        check_estimator(ReferenceELBO, expected_failures=expected)


def test_levels():
    fast, full = checks_for("fast"), checks_for("full")
    assert {each.id for each in fast} < {each.id for each in full}
    with pytest.raises(ValueError, match="'slow'"):
        checks_for("slow")


def test_a_check_runs_in_a_world_of_its_own():
    """Catches a kit that seeds, fills the caller's store, or leaves its settings, filters and handlers behind."""

    def meddling(subject):
        aleator.param("left_behind", torch.tensor(1.0))
        torch.rand(3)
        assert validation_enabled()
        assert torch.is_grad_enabled()
        LeaksHandler().estimate(lambda: 1 / 0, lambda: None)

    before = torch.random.get_rng_state()
    filters = list(warnings.filters)
    with aleator.ParamStore() as store, validation_enabled(False), torch.no_grad():
        outcome = run_check(SUBJECT, a_check(meddling))
        assert not validation_enabled()
        assert not torch.is_grad_enabled()
        assert not len(store)
    assert "ZeroDivisionError" in outcome.message
    assert STACK.get() == ()
    assert warnings.filters == filters
    assert torch.equal(before, torch.random.get_rng_state())


def test_the_kit_gives_the_same_answer_everywhere():
    """Whatever seed the caller has, and in whichever thread: a failure can be repeated."""

    def draws(subject):
        raise CheckFailure(str(torch.rand(()).item()))

    found = []
    for seed in (1, 2):
        with aleator.rng(seed):
            found.append(run_check(SUBJECT, a_check(draws)).message)
    thread = threading.Thread(target=lambda: found.append(run_check(SUBJECT, a_check(draws)).message))
    thread.start()
    thread.join()
    assert len(set(found)) == 1


def test_the_report_of_an_estimator():
    checks = [find_check(name) for name in ("sign_convention", "enumeration_exact", "no_leak")]
    report = run_checks(SUBJECT, [*checks, raising(CheckFailure("first line\nsecond line"))])
    assert [outcome.status for outcome in report] == ["passed", "skipped", "passed", "failed"]
    text = str(report)
    assert text.startswith("ReferenceELBO, level fast: 1 failed, 2 passed, 1 skipped")
    assert "C. the contract of estimate" in text
    assert not report.ok
    with pytest.raises(CheckFailure, match="second line"):
        report.raise_for_failures()
    run_checks(SUBJECT, checks).raise_for_failures()
