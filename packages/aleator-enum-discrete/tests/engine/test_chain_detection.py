"""Which tables make a chain."""

import itertools

import pytest

from aleator_enum_discrete.engine.chain_detection import find_chain

SIZES = {"a": 2, "b": 2, "c": 2, "d": 2, "data": 5, "w": 2, "u": 2, "big": 3}
CHAIN = [("a",), ("b", "a"), ("data", "b"), ("c", "b"), ("c", "d"), ("d",), ("c",)]


def test_a_chain_in_any_order_of_its_tables():
    for order in itertools.permutations(range(len(CHAIN))):
        found = find_chain([CHAIN[i] for i in order], "abcd", SIZES)
        assert found is not None
        assert found.variables in (("a", "b", "c", "d"), ("d", "c", "b", "a"))
        assert found.batch == ("data",)
        for variable, places in zip(found.variables, found.unary, strict=True):
            assert all(variable in CHAIN[order[place]] for place in places)
        for pair, places in zip(itertools.pairwise(found.variables), found.pairs, strict=True):
            assert [set(CHAIN[order[place]]) for place in places] == [set(pair)]


def test_it_begins_where_the_tables_begin():
    assert find_chain(CHAIN, "abcd", SIZES).variables == ("a", "b", "c", "d")


@pytest.mark.parametrize(
    ("tables", "variables"),
    [
        pytest.param([("a", "b"), ("b", "c"), ("c", "a")], "abc", id="loop"),
        pytest.param([("a", "b"), ("b", "c"), ("b", "d")], "abcd", id="fork"),
        pytest.param([("a", "b", "c")], "abc", id="three together"),
        pytest.param([("a", "b"), ("c", "d")], "abcd", id="two pieces"),
        pytest.param([("a", "b"), ("c",)], "abc", id="one apart"),
        pytest.param([("a",)], "a", id="one alone"),
        pytest.param([("a", "big")], ["a", "big"], id="other sizes"),
        pytest.param([("a", "b", "w"), ("b", "c", "u")], "abc", id="stacking would waste"),
        pytest.param([("a", "b"), ("b", "a"), ("c", "d"), ("d", "c")], "abcd", id="loops of two"),
        pytest.param([("a", "b"), ("c", "d"), ("d", "w"), ("w", "c")], ["a", "b", "c", "d", "w"], id="line and loop"),
    ],
)
def test_what_is_no_chain(tables, variables):
    assert find_chain(tables, variables, SIZES) is None


def test_several_tables_over_one_pair():
    assert find_chain([("a", "b"), ("b", "a"), ("b", "c")], "abc", SIZES).pairs == ((0, 1), (2,))
