"""The kit against its own broken twins, in this process and as installed wheels."""

from __future__ import annotations

from pathlib import Path

import pytest

from aleator.plugins import registry
from aleator_testing import check_plugin
from aleator_testing.catalogue import all_checks
from aleator_testing.matrix import all_mutants
from aleator_testing.mutants.mutant import Mutant
from aleator_testing.mutants.wheels import WHEELS, Wheel, failing_checks
from aleator_testing.reference import ReferenceELBO
from aleator_testing.running import run_check
from aleator_testing.subject import Subject

FAST = {check.id: check for check in all_checks() if check.level == "fast"}


@pytest.fixture(scope="module")
def absent() -> set[str]:
    """Checks of wrappers that are not installed: they say nothing about any estimator here."""
    sound = Subject(ReferenceELBO)
    return {name for name, check in FAST.items() if check.group == "G" and run_check(sound, check).status == "skipped"}


@pytest.mark.parametrize("mutant", all_mutants(), ids=lambda mutant: mutant.name)
def test_every_broken_estimator_is_found(mutant: Mutant, absent: set[str]) -> None:
    """The checks that a mutant names do fail on it."""
    fast = sorted(mutant.fails & FAST.keys() - absent)
    assert fast or mutant.fails & {check.id for check in all_checks() if check.level == "full"}
    for name in fast:
        outcome = run_check(Subject(mutant.factory), FAST[name])
        assert outcome.status == "failed", f"{name} {outcome.status} on {mutant.name!r}: {outcome.message}"


@pytest.mark.parametrize("wheel", WHEELS, ids=lambda wheel: wheel.name)
def test_every_broken_wheel_is_found(wheel: Wheel, tmp_path: Path) -> None:
    """Unpacked as an installer does, and checked from a fresh process; the sound one passes."""
    found = failing_checks(wheel, tmp_path)
    assert wheel.fails <= found
    assert bool(found) == bool(wheel.fails)


def test_every_check_finds_something() -> None:
    """A check that finds no mutant is no check; those of wrappers that are not installed cannot run."""
    named = {name for each in (*all_mutants(), *WHEELS) for name in each.fails}
    assert {check.id for check in all_checks()} - named == set()


@pytest.mark.parametrize("distribution", sorted({plugin.record.distribution for plugin in registry.current().plugins}))
def test_installed_plugins(distribution: str) -> None:
    check_plugin(distribution).raise_for_failures()
