"""Distributions and the plates around them."""

import pytest
import torch

import aleator.distributions as dist
from aleator.broadcasting import broadcast_to_frames, plate_shape
from aleator.sites import PlateFrame, Site

ROWS, COLUMNS, LOOP = PlateFrame("rows", -2, 4, 4), PlateFrame("columns", -1, 3, 9), PlateFrame("loop", None, 2, 2)


@pytest.mark.parametrize(
    ("batch_shape", "frames", "expected"),
    [
        ((), (COLUMNS,), (3,)),
        ((1,), (COLUMNS,), (3,)),
        ((3,), (COLUMNS,), (3,)),
        ((), (ROWS,), (4, 1)),
        ((5,), (ROWS,), (4, 5)),
        ((), (ROWS, COLUMNS), (4, 3)),
        ((2, 1, 1), (ROWS, COLUMNS), (2, 4, 3)),
        ((), (LOOP,), ()),
        ((7,), (LOOP, ROWS), (4, 7)),
    ],
)
def test_the_batch_shape_widened_by_the_plates(batch_shape, frames, expected):
    assert plate_shape(torch.Size(batch_shape), frames) == (expected, None)


def test_the_plate_that_does_not_fit():
    assert plate_shape(torch.Size([5]), (ROWS, COLUMNS)) == (torch.Size([5]), COLUMNS)


def test_a_distribution_that_fits_is_left_alone():
    fn = dist.Normal(torch.zeros(3), 1.0)
    site = Site("sample", "x", fn)
    site.frames = (COLUMNS,)
    broadcast_to_frames(site)
    assert site.fn is fn


def test_what_is_no_distribution_is_left_alone():
    site = Site("sample", "x", len)
    site.frames = (COLUMNS,)
    broadcast_to_frames(site)
    assert site.fn is len


def test_the_message_names_site_plate_and_both_shapes():
    site = Site("sample", "x", dist.Normal(torch.zeros(2, 5), 1.0))
    site.frames = (COLUMNS,)
    with pytest.raises(ValueError, match="site 'x'") as caught:
        broadcast_to_frames(site)
    for part in (
        "plate 'columns' has size 3 at dim -1",
        "Normal has batch shape (2, 5)",
        ".to_event(n)",
        "another dim",
    ):
        assert part in str(caught.value)
