import pytest
import torch

from aleator_posterior import Columns, SiteDescription
from aleator_posterior.columns import DenseColumn, Entry, RaggedColumn, join_columns, make_column

ABOUT = SiteDescription()


def entries(*values, places=None):
    return [
        Entry(place, torch.as_tensor(value), ABOUT)
        for place, value in zip(places or range(len(values)), values, strict=True)
    ]


def test_values_of_one_shape_become_one_tensor():
    column = make_column(entries([1.0, 2.0], [3.0, 4.0]), 2)
    assert isinstance(column, DenseColumn)
    assert column.tensor.tolist() == [[1.0, 2.0], [3.0, 4.0]]
    assert not column.is_shared


@pytest.mark.parametrize(
    ("made", "words"),
    [
        (entries([1.0], [2.0, 3.0]), r"site 'x' changes its shape between draws \(\(1,\), \(2,\)\)"),
        (entries(1.0, 2), r"site 'x' changes its dtype between draws \(torch.float32, torch.int64\)"),
        (
            [Entry(0, torch.zeros(()), ABOUT), Entry(1, torch.zeros(()), SiteDescription("observed"))],
            "site 'x' changes its plates, its event dims or its role between draws",
        ),
        (entries(1.0, places=[1]), "site 'x' is in 1 of 2 draws only"),
    ],
)
def test_reading_a_ragged_site_names_it_and_says_what_differs(made, words):
    columns = Columns({"x": make_column(made, 2)}, 2)
    assert columns.is_ragged("x")
    assert "x" in columns
    with pytest.raises(ValueError, match=words + r".*read ragged\('x'\) instead"):
        columns["x"]
    assert [place for place, _ in columns.ragged("x")] == [entry.place for entry in made]


def test_an_unknown_site_is_named_with_the_known_ones():
    columns = Columns({"x": make_column(entries(1.0), 1)}, 1)
    with pytest.raises(KeyError, match="no draw has a site 'y' here; the sites are: x"):
        columns["y"]
    assert columns.get("y") is None
    assert columns["x"].tolist() == [1.0]


def test_many_shapes_are_shown_shortened():
    columns = Columns({"x": make_column(entries(*(torch.zeros(n) for n in range(5))), 5)}, 5)
    with pytest.raises(ValueError, match=r"\(\(0,\), \(1,\), \(2,\), \.\.\.\)"):
        columns["x"]


def test_a_shared_value_takes_the_memory_of_one_and_stays_shared():
    data = torch.arange(3.0)
    column = make_column([Entry(place, data, ABOUT) for place in range(4)], 4)
    assert column.is_shared
    assert column.tensor.untyped_storage().nbytes() == 3 * 4
    picked = column.select([0, 2, 2], torch.tensor([0, 2, 2]))
    joined = join_columns([(picked, 3), (column.select(slice(1, 2), None), 1), (column, 4)])
    assert joined.tensor.data_ptr() == data.data_ptr()
    assert joined.tensor.tolist() == [data.tolist()] * 8


def test_two_views_of_one_memory_are_not_taken_for_each_other():
    square = torch.arange(4.0).reshape(2, 2)
    column = make_column(entries(square), 1)
    transposed = make_column(entries(square.T), 1)
    joined = join_columns([(column, 1), (transposed, 1)])
    assert joined.tensor.tolist() == [[[0.0, 1.0], [2.0, 3.0]], [[0.0, 2.0], [1.0, 3.0]]]


def test_selection_from_a_ragged_column_numbers_anew_and_is_dense_where_it_can_be():
    columns = Columns({"x": make_column(entries([1.0], [2.0, 3.0], [4.0], places=[0, 2, 3]), 4)}, 4)
    picked = columns.select([3, 1, 2, 3])
    assert [(place, value.tolist()) for place, value in picked.ragged("x")] == [(0, [4.0]), (2, [2.0, 3.0]), (3, [4.0])]
    assert columns.select([3, 0])["x"].tolist() == [[4.0], [1.0]]
    assert columns.select(slice(None, None, 3))["x"].tolist() == [[1.0], [4.0]]
    assert "x" not in columns.select(slice(1, 2))


def test_concatenation_of_columns_that_differ_is_ragged_with_all_values_in_place():
    first = Columns({"x": make_column(entries(1.0, 2.0), 2)}, 2)
    second = Columns({"x": make_column(entries([3.0]), 1), "y": make_column(entries(9.0), 1)}, 1)
    joined = Columns.concatenate([first, Columns({}, 0), second])
    assert [(place, value.tolist()) for place, value in joined.ragged("x")] == [(0, 1.0), (1, 2.0), (2, [3.0])]
    assert [(place, value.tolist()) for place, value in joined.ragged("y")] == [(2, 9.0)]
    assert isinstance(joined.column("y"), RaggedColumn)


def test_an_empty_part_makes_nothing_ragged():
    full = Columns({"x": make_column(entries(1.0, 2.0), 2)}, 2)
    joined = Columns.concatenate([full.select(slice(0, 0)), full, Columns({}, 0)])
    assert joined["x"].tolist() == [1.0, 2.0]
    assert repr(joined) == "Columns(draws=2, x: ())"
