"""Orders of contraction: complete, cheap, and the same in every process."""

import os
import random
import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aleator_enum_discrete.paths import find_path, follow, path_cost

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
        "from aleator_enum_discrete.paths import find_path;"
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
