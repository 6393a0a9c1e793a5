"""The references pass the checks of groups D and E, honestly; the official driver agrees with the reference."""

from __future__ import annotations

import pytest

from aleator_testing.catalogue import all_checks
from aleator_testing.reference import ReferenceELBO
from aleator_testing.reference_bounds import ReferenceEnumeration, ReferenceIWAE, ReferenceRenyi
from aleator_testing.running import run_check
from aleator_testing.subject import Subject

CHECKS = [each for each in all_checks() if each.group in "DE"]


@pytest.mark.parametrize("factory", [ReferenceELBO, ReferenceIWAE, ReferenceRenyi, ReferenceEnumeration])
def test_a_reference_passes_groups_d_and_e(factory):
    outcomes = {each.id: run_check(Subject(factory), each) for each in CHECKS}
    failed = {name: outcome.message for name, outcome in outcomes.items() if outcome.status == "failed"}
    assert not failed
    skipped = {name for name, outcome in outcomes.items() if outcome.status == "skipped"}
    assert skipped <= {"enumeration_exact", "particles"}


def test_num_particles_is_checked():
    with pytest.raises(ValueError, match="positive"):
        ReferenceELBO(num_particles=0)
