from __future__ import annotations

import pytest

from aleator.plugins.switches import Switches


def test_nothing_set():
    assert Switches.read({}) == Switches((), strict=False)


@pytest.mark.parametrize(("value", "strict"), [("1", True), ("true", True), ("0", False), ("", False), (" ", False)])
def test_strict(value, strict):
    assert Switches.read({"ALEATOR_PLUGINS_STRICT": value}).strict is strict


@pytest.mark.parametrize("setting", ["acme-vr", "Acme_VR", "vr", "acme-vr:vr", " other , acme.vr ", "*"])
def test_disables_by_distribution_entry_point_both_or_all(setting):
    assert Switches.read({"ALEATOR_DISABLE_PLUGINS": setting}).disables("acme-vr", "vr")


@pytest.mark.parametrize("setting", ["", ",", "acme", "acme-vr:other", "acme-*"])
def test_what_does_not_match_disables_nothing(setting):
    assert not Switches.read({"ALEATOR_DISABLE_PLUGINS": setting}).disables("acme-vr", "vr")
