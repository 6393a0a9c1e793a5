"""Orders of contraction: complete, cheap, and the same in every process."""

import os
import random
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aleator_enum_discrete.engine.elimination_orders import elimination_order, fill_in, table_size
from aleator_enum_discrete.engine.paths import find_path, follow, path_cost

NAMES = "abcdefghij"


@settings(max_examples=100, deadline=None)
@given(st.lists(st.frozensets(st.sampled_from(NAMES), max_size=4), min_size=1, max_size=14), st.data())
def test_every_table_is_joined_once_and_only_the_output_remains(inputs, data):
    present = sorted(frozenset().union(*inputs))
    output = frozenset(data.draw(st.lists(st.sampled_from(present), unique=True)) if present else ())
    sizes = {name: 2 + index % 3 for index, name in enumerate(NAMES)}
    path = find_path(inputs, output, sizes)
    steps = list(follow(path, inputs, output))
    assert steps[-1][2] == output
    assert sum(len(step) - 1 for step in path) == len(inputs) - 1


@pytest.mark.parametrize("count", [20, 60])
def test_a_tree_is_cheap_in_any_order_of_its_tables(count):
    inputs = [frozenset({f"x{i}", f"x{i // 2}"}) for i in range(1, count)]
    sizes = {f"x{i}": 3 for i in range(count)}
    for seed in range(3):
        random.Random(seed).shuffle(inputs)
        assert path_cost(find_path(inputs, frozenset(), sizes), inputs, frozenset(), sizes) <= 30 * count


def test_a_path_does_not_depend_on_hashes():
    program = (
        "from aleator_enum_discrete.engine.paths import find_path;"
        "print(find_path([frozenset({f'x{i}', f'x{(i * 7) % 23}', f'x{(i * 5) % 19}'}) for i in range(30)],"
        "frozenset(), {f'x{i}': 2 + i % 2 for i in range(40)}))"
    )
    environment = {**os.environ}
    found = set()
    for seed in ("1", "2"):
        environment["PYTHONHASHSEED"] = seed
        run = subprocess.run(
            [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
        )
        found.add(run.stdout)
    assert len(found) == 1


def grid(rows, columns):
    """Pairs of neighbours of a grid: wide, without structure that greedy search by tables sees."""
    across = [frozenset({(i, j), (i, j + 1)}) for i in range(rows) for j in range(columns - 1)]
    down = [frozenset({(i, j), (i + 1, j)}) for i in range(rows - 1) for j in range(columns)]
    return [frozenset(f"x{i}.{j}" for i, j in pair) for pair in across + down]


@pytest.mark.parametrize(("rows", "columns"), [(3, 12), (5, 8), (6, 6)])
def test_a_grid_costs_its_width(rows, columns):
    """Column by column is the best order: joint tables over ``rows + 1`` variables, two for each of the grid's."""
    inputs = grid(rows, columns)
    sizes = dict.fromkeys(frozenset().union(*inputs), 2)
    random.Random(0).shuffle(inputs)
    path = find_path(inputs, frozenset(), sizes)
    assert path_cost(path, inputs, frozenset(), sizes) <= 2 * rows * columns * 2 ** (rows + 1)


@pytest.mark.parametrize("score", [table_size, fill_in])
def test_an_order_has_every_name_once_and_a_tree_is_eliminated_from_its_leaves(score):
    inputs = [frozenset({f"x{i}", f"x{i // 3}"}) for i in range(1, 40)]
    sizes = {f"x{i}": 2 + i % 3 for i in range(40)}
    order = elimination_order(inputs, frozenset({"x0"}), sizes, score)
    assert sorted(order) == sorted(sizes.keys() - {"x0"})
    widest = max(len(names) for _, names, _ in follow(find_path(inputs, frozenset({"x0"}), sizes), inputs, {"x0"}))
    assert widest <= 3


@settings(max_examples=60, deadline=None)
@given(st.lists(st.frozensets(st.sampled_from(NAMES), min_size=1, max_size=4), min_size=1, max_size=14))
def test_scores_that_are_kept_up_are_those_computed_anew(inputs):
    """An order chosen with scores updated where the graph changed equals one with all scores computed at each turn."""
    sizes = {name: 2 + index % 3 for index, name in enumerate(NAMES)}
    for score in (table_size, fill_in):
        order = elimination_order(inputs, frozenset(), sizes, score)
        graph = {name: frozenset().union(*(each for each in inputs if name in each)) - {name} for name in order}
        for name in order:
            assert name == min(
                graph, key=lambda each: (score(each, graph, sizes), table_size(each, graph, sizes), each)
            )
            around = graph.pop(name)
            graph = {each: (near | around if each in around else near) - {name, each} for each, near in graph.items()}
