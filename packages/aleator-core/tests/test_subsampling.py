"""Which elements of a plate a run looks at."""

from collections import Counter
from math import comb

import torch

from aleator import randomness
from aleator.subsampling import SubsampleIndices, all_indices, settle_sizes


def test_all_indices_are_one_tensor():
    """A cache: clearing it changes no result."""
    assert all_indices(5, None) is all_indices(5, None)
    assert all_indices(5, torch.device("cpu")) is all_indices(5, "cpu")
    assert all_indices(5, None).tolist() == [0, 1, 2, 3, 4]


def test_the_cache_does_not_grow_without_bound():
    for size in range(600):
        assert len(all_indices(size, None)) == size
    assert all_indices(3, None).tolist() == [0, 1, 2]


def test_fake_tensors_do_not_get_into_the_cache():
    def captured(x):
        return x[all_indices(23, None)[:2]]

    torch.func.vmap(captured)(torch.randn(3, 30))
    assert all_indices(23, None).tolist() == list(range(23))


def test_every_subset_is_as_likely():
    """Would catch draws with replacement, and a choice that favours some elements (chi-square, 9 degrees)."""
    draw, count = SubsampleIndices(5, 2, None), 5000
    with randomness.rng(0):
        found = Counter(tuple(sorted(draw().tolist())) for _ in range(count))
    assert len(found) == comb(5, 2)
    expected = count / comb(5, 2)
    assert sum((seen - expected) ** 2 / expected for seen in found.values()) < 27.9  # the 0.999 quantile


def test_indices_settle_the_sizes():
    size, subsample_size, indices = settle_sizes("data", None, None, [4, 2], None)
    assert (size, subsample_size, indices.tolist()) == (2, 2, [4, 2])
    assert settle_sizes("data", torch.tensor(4), None, None, None) == (4, 4, None)
