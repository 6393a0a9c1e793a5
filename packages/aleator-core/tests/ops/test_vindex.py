"""Indexing with broadcast indices, against a loop over the elements of the result."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aleator.ops import Vindex, vindex

FULL = slice(None)
KINDS = ["slice", "part", "integer", "negative", "scalar", "vector", "column", "grid"]
SIZES = (3, 4, 5, 2)


def element_by_element(tensor, args):
    """The definition, one element of the result at a time."""
    place = args.index(Ellipsis) if Ellipsis in args else len(args)
    missing = tensor.dim() - len([arg for arg in args if arg is not Ellipsis])
    batch = missing if Ellipsis in args and place == 0 else 0
    full = [*args[:place], *[FULL] * missing, *args[place + 1 :]]
    shapes = [tuple(arg.shape) for arg in full if isinstance(arg, torch.Tensor)]
    front = torch.broadcast_shapes(tuple(tensor.shape[:batch]), *shapes)
    sized = zip(full, tensor.shape, strict=True)
    ranges = [range(*arg.indices(size)) if isinstance(arg, slice) else None for arg, size in sized]
    behind = [each for each in ranges[batch:] if each is not None]
    result = torch.empty(*front, *(len(each) for each in behind), dtype=tensor.dtype)
    for where in itertools.product(*map(range, result.shape)):
        first, last = where[: len(front)], list(where[len(front) :])
        source = []
        for dim, arg in enumerate(full):
            if dim < batch:
                position = first[len(front) - batch + dim]
                source.append(position if tensor.shape[dim] > 1 else 0)
            elif isinstance(arg, slice):
                source.append(ranges[dim][last.pop(0)])
            elif isinstance(arg, torch.Tensor):
                source.append(arg.expand(front)[first].item())
            else:
                source.append(arg)
        result[where] = tensor[tuple(source)]
    return result


def index_of(kind, size):
    return {
        "slice": FULL,
        "part": slice(1, None),
        "integer": size - 1,
        "negative": -1,
        "scalar": torch.tensor(1),
        "vector": torch.arange(3) % size,
        "column": (torch.arange(2) % size).reshape(2, 1),
        "grid": (torch.arange(6) % size).reshape(2, 1, 3) - 1,
    }[kind]


@pytest.mark.parametrize("ellipsis", ["none", "first", "last"])
@pytest.mark.parametrize("kinds", [*itertools.product(KINDS, repeat=2)], ids="-".join)
def test_every_pair_of_indices_equals_the_loop(kinds, ellipsis):
    # Batch dims of size 1 and 3 broadcast with the index tensors.
    tensor = torch.arange(1 * 3 * 4 * 5, dtype=torch.float64).reshape(1, 3, 4, 5)
    if ellipsis == "first":
        args = (Ellipsis, *(index_of(kind, size) for kind, size in zip(kinds, (4, 5), strict=True)))
    else:
        tensor = tensor.permute(2, 3, 1, 0)
        args = tuple(index_of(kind, size) for kind, size in zip(kinds, (4, 5), strict=True))
        args = (*args, Ellipsis) if ellipsis == "last" else args
    if any(isinstance(arg, torch.Tensor) and arg.dim() for arg in args):
        expected = element_by_element(tensor, args)
    else:
        expected = tensor[args]
    torch.testing.assert_close(Vindex(tensor)[args], expected, rtol=0, atol=0)
    torch.testing.assert_close(vindex(tensor, args), expected, rtol=0, atol=0)


@settings(max_examples=150, deadline=None)
@given(st.lists(st.sampled_from(KINDS), min_size=1, max_size=4), st.sampled_from([None, 0, 1, 2, 3, 4]))
def test_any_mix_of_indices_equals_the_loop(kinds, place):
    place = None if place is None or place > len(kinds) else place
    sizes = SIZES if place != 0 else (*((1, 2, 1, 3)[len(kinds) :]), *SIZES[4 - len(kinds) :])
    tensor = torch.arange(torch.Size(sizes).numel(), dtype=torch.float64).reshape(sizes)
    if place is None:
        args = [index_of(kind, size) for kind, size in zip(kinds, sizes, strict=False)]
    else:
        behind = len(kinds) - place
        args = [index_of(kind, size) for kind, size in zip(kinds[:place], sizes, strict=False)]
        behind = zip(kinds[place:], sizes[4 - behind :], strict=True)
        args += [Ellipsis, *(index_of(kind, size) for kind, size in behind)]
    args = tuple(args)
    if any(isinstance(arg, torch.Tensor) and arg.dim() for arg in args):
        expected = element_by_element(tensor, args)
    else:
        expected = tensor[args]
    torch.testing.assert_close(vindex(tensor, args), expected, rtol=0, atol=0)


def test_the_gradient_counts_each_use_of_an_element():
    table = torch.randn(2, 4, 5, 3, dtype=torch.float64, requires_grad=True)
    i, j = torch.tensor([[0], [3], [3]]), torch.tensor([2, 2])
    assert vindex(table, (..., i, FULL, j)).shape == (3, 2, 5)
    assert torch.autograd.gradcheck(lambda x: vindex(x, (..., i, FULL, j)), table)
    assert torch.autograd.gradgradcheck(lambda x: vindex(x, (..., i, FULL, j)).sin(), table)


def test_an_enumerated_index_meets_a_batch_and_a_neighbour():
    transition = torch.rand(7, 3, 3)
    previous, current = torch.arange(3).reshape(3, 1), torch.arange(3).reshape(3, 1, 1)
    looked_up = Vindex(transition)[..., previous, current]
    assert looked_up.shape == (3, 3, 7)
    torch.testing.assert_close(looked_up, transition.permute(2, 1, 0))


def test_without_index_tensors_it_is_torchs_indexing():
    x = torch.arange(24).reshape(2, 3, 4)
    for args in [1, FULL, (0, FULL, 2), (..., 1), (FULL, slice(1, 3)), (1, ..., slice(None, None, 2))]:
        torch.testing.assert_close(vindex(x, args), x[args])
    torch.testing.assert_close(Vindex(x)[()], x)


def test_one_index_tensor_alone():
    x = torch.arange(6).reshape(2, 3)
    torch.testing.assert_close(Vindex(x)[torch.tensor([1, 0])], x[[1, 0]])


@pytest.mark.parametrize("bad", [None, torch.tensor([True, False]), [0, 1], torch.tensor([0.0]), 1.0, True])
def test_other_kinds_of_index_are_refused(bad):
    with pytest.raises(TypeError, match="Vindex takes integers"):
        Vindex(torch.zeros(2, 2))[bad, torch.tensor([0])]


def test_too_many_indices_say_what_fits():
    i = torch.tensor([0])
    with pytest.raises(IndexError, match=r"shape \(2, 2\) takes at most 2 indices and one ellipsis, found 3 and 0"):
        Vindex(torch.zeros(2, 2))[i, i, i]
    with pytest.raises(IndexError, match="found 1 and 2"):
        Vindex(torch.zeros(2, 2))[..., i, ...]
