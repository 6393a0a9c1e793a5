"""Private data of plugins, under typed keys."""

import pytest

from aleator.stash import Stash, StashKey


def test_keys_meet_by_identity_not_by_label():
    first, second = StashKey[int]("dim"), StashKey[int]("dim")
    stash = Stash()
    stash[first] = 1
    assert first in stash
    assert second not in stash
    assert stash.get(second) is None
    assert stash.get(second, 7) == 7
    assert len(stash) == 1


def test_entries_come_and_go():
    key = StashKey[str]("word")
    stash = Stash()
    stash[key] = "a"
    copied = stash.copy()
    stash[key] = "b"
    assert (stash[key], copied[key]) == ("b", "a")
    del stash[key]
    with pytest.raises(KeyError):
        stash[key]


def test_a_key_tells_its_label():
    assert repr(StashKey[int]("enumeration_dim")) == "StashKey('enumeration_dim')"
