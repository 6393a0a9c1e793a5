"""The record that travels through the handlers."""

import pytest
import torch

from aleator.sites import SITE_FIELDS, PlateFrame, Site
from aleator.stash import StashKey


def test_fields_are_attributes_and_items():
    site = Site("sample", "z", value=torch.tensor(1.0))
    assert site["value"] is site.value
    site["value"] = torch.tensor(2.0)
    assert site.value == 2.0
    site.scale = 3.0
    assert site["scale"] == 3.0


def test_it_reads_like_a_mapping():
    site = Site("sample", "z")
    assert "value" in site
    assert "cond_indep_stack" not in site
    assert tuple(site) == site.keys() == SITE_FIELDS
    assert dict(site)["name"] == "z"
    assert site.get("mask", "default") is None
    assert site.get("nothing", "default") == "default"


def test_an_unknown_field_lists_the_fields():
    site = Site("sample", "z")
    with pytest.raises(KeyError, match=r"no field 'vlaue'; its fields are type, name"):
        site["vlaue"]
    with pytest.raises(KeyError, match="no field 'vlaue'"):
        site["vlaue"] = 1
    with pytest.raises(AttributeError):
        site.vlaue = 1  # slotted


def test_defaults():
    site = Site("param", "a")
    assert (site.value, site.is_observed, site.scale, site.mask) == (None, False, 1.0, None)
    assert (site.frames, site.done, site.stop, site.infer) == ((), False, False, {})


def test_a_copy_is_a_record_of_its_own():
    """SEMANTICS 55: who adjusts a copy must not write into the original."""
    key = StashKey[int]("mine")
    site = Site("sample", "z", value=torch.tensor(1.0), infer={"obs": 1})
    site.stash[key] = 1
    other = site.copy()
    other.value = torch.tensor(2.0)
    other.infer["obs"] = 2
    other.stash[key] = 2
    assert (site.value, site.infer["obs"], site.stash[key]) == (1.0, 1, 1)
    assert other.name == "z"


def test_the_stash_is_made_when_asked_for():
    site = Site("sample", "z")
    assert site._stash is None
    assert site.copy()._stash is None
    assert site.stash is site.stash


def test_what_it_looks_like():
    observed = Site("sample", "z", value=torch.zeros(2, 3), is_observed=True)
    assert repr(observed) == "Site('z', observed, fn=None, value=(2, 3))"
    assert "param" in repr(Site("param", "a", value=3))


def test_a_frame_is_a_value():
    """Two sites of one plate have equal frames; a loop's turns differ."""
    frame = PlateFrame("data", -1, 5, 10)
    assert frame == PlateFrame("data", -1, 5, 10)
    assert frame.scale == 2.0
    assert frame.vectorized
    turn = PlateFrame("data", None, 5, 10, 1)
    assert not turn.vectorized
    assert turn != PlateFrame("data", None, 5, 10, 2)
    assert PlateFrame("empty", -1, 0, 0).scale == 0.0
