"""The matrix: what it says of mutants, checks without one, and mutants that nobody finds."""

from __future__ import annotations

from aleator_testing.catalogue import all_checks, find_check
from aleator_testing.matrix import all_mutants, compute_matrix
from aleator_testing.mutants.mutant import Mutant
from aleator_testing.reference import ReferenceELBO

NAMES = ("zero gradient", "score term dropped")
CHECKS = ("grad_exact_score", "site_order_irrelevant", "one_minibatch_per_estimate")


def test_rows_columns_and_what_is_wrong_with_them():
    mutants = [each for each in all_mutants() if each.name in NAMES]
    harmless = Mutant("nothing broken", ReferenceELBO, frozenset({"grad_exact_score"}))
    matrix = compute_matrix([find_check(name) for name in CHECKS], [*mutants, harmless])
    zero = next(each for each in mutants if each.name == "zero gradient")
    assert set(matrix.failing(zero)) == {"grad_exact_score", "site_order_irrelevant"}
    faults = "\n".join(matrix.faults())
    assert "check one_minibatch_per_estimate fails on no mutant" in faults
    assert "mutant 'nothing broken' fails no check" in faults
    assert "mutant 'nothing broken' should fail grad_exact_score" in faults
    assert "| zero gradient | `" in matrix.markdown()
    assert "3 checks, 3 mutants, 9 runs" in str(matrix)


def test_every_mutant_names_checks_that_exist():
    for mutant in all_mutants():
        for name in mutant.fails:
            find_check(name)


def test_every_check_of_groups_d_and_e_is_expected_to_find_a_mutant():
    expected = frozenset().union(*(each.fails for each in all_mutants()))
    missing = {each.id for each in all_checks() if each.group in "DE"} - expected
    assert not missing
