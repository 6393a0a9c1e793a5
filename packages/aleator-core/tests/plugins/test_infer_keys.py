from __future__ import annotations

import sys

import pytest

from aleator.errors import AleatorWarning, PluginLoadError
from aleator.plugins import refresh
from aleator.plugins.infer_keys import (
    CORE_INFER_KEYS,
    KEYS_KNOWN_TO_CORE,
    known_infer_keys,
    nearest_infer_key,
    warn_unknown_infer_key,
)

KEYS = "@hookimpl\ndef aleator_infer_keys():\n    return ['acme_temperature', 'is_auxiliary']"


def test_the_cores_own_and_those_of_official_plugins_need_no_discovery(monkeypatch):
    monkeypatch.setitem(sys.modules, "aleator.plugins.registry", None)
    assert frozenset({"is_auxiliary", "was_observed", "obs"}) == CORE_INFER_KEYS
    for key in ("is_auxiliary", "enumerate", "num_samples", "expand", "baseline", "gradient"):
        assert key in KEYS_KNOWN_TO_CORE
        warn_unknown_infer_key("z", key)


def test_a_plugins_keys_are_known(fresh_discovery):
    fresh_discovery.install("acme-vr", fresh_discovery.manifest(KEYS))
    assert "acme_temperature" in known_infer_keys()
    assert nearest_infer_key("acme_temprature") == "acme_temperature"
    warn_unknown_infer_key("z", "acme_temperature")


@pytest.mark.parametrize(("key", "nearest"), [("enumarate", "enumerate"), ("Is_Auxilary", "is_auxiliary")])
def test_a_misspelt_key_warns_once_with_the_nearest(fresh_discovery, key, nearest):
    with pytest.warns(AleatorWarning) as caught:
        warn_unknown_infer_key("z", key)
    (warning,) = caught
    assert str(warning.message) == (
        f"site 'z' has the infer key {key!r}, which no installed plugin reads: it has no effect; "
        f"did you mean {nearest!r}?"
    )
    assert warning.filename == __file__
    warn_unknown_infer_key("another", key)


def test_a_key_like_no_other_lists_the_known_ones(fresh_discovery):
    assert nearest_infer_key("qwzx") is None
    with pytest.warns(AleatorWarning, match=r"the known keys are .*enumerate.*is_auxiliary"):
        warn_unknown_infer_key("z", "qwzx")


def test_a_key_that_is_no_string_is_named(fresh_discovery):
    with pytest.warns(AleatorWarning, match="infer key '41'"):
        warn_unknown_infer_key("z", 41)


def test_keys_that_are_no_names_are_left_out_and_recorded(fresh_discovery, monkeypatch):
    body = "@hookimpl\ndef aleator_infer_keys():\n    return ['acme_good', 7]"
    fresh_discovery.install("acme-vr", fresh_discovery.manifest(body))
    monkeypatch.setenv("ALEATOR_PLUGINS_STRICT", "1")
    refresh()
    with pytest.raises(PluginLoadError, match="its hook aleator_infer_keys gave 7, where names belong"):
        known_infer_keys()
