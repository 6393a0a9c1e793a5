"""Lazy names of ``aleator.infer`` and ``aleator.handlers``, over fakes of official distributions.

The fakes stand first on the path, so that they hide the official ones where those are installed.
"""

from __future__ import annotations

import importlib
import sys

import pytest

from aleator import handlers, infer
from aleator.errors import MissingPluginError, PluginLoadError, PluginWarning
from aleator.plugins import refresh

HANDLERS = """
@hookimpl
def aleator_handlers():
    return [HandlerSpec(name="enum", target=__name__.rpartition('.')[0] + ".estimators:Found", summary="x")]
"""


def renyi(environment):
    environment.install("aleator-renyi", environment.manifest(estimators=("RenyiELBO", "IWAE")))


def test_an_official_name_is_an_attribute(fresh_discovery):
    renyi(fresh_discovery)
    assert infer.is_available("RenyiELBO")
    assert "aleator_renyi.estimators" not in sys.modules
    assert infer.RenyiELBO.__module__ == "aleator_renyi.estimators"
    assert infer.get_estimator("RenyiELBO") is infer.RenyiELBO
    from aleator.infer import IWAE

    assert IWAE is infer.RenyiELBO
    assert {"IWAE", "RenyiELBO", "get_estimator", "pure_step"} <= set(dir(infer))
    assert "RenyiELBO" not in vars(infer)


def test_handlers_show_their_own_official_names(fresh_discovery):
    fresh_discovery.install("aleator-enum-discrete", fresh_discovery.manifest(HANDLERS))
    assert handlers.enum.__module__ == "aleator_enum_discrete.estimators"
    assert "enum" in dir(handlers)
    with pytest.raises(AttributeError, match="has no attribute 'enum'"):
        infer.enum  # noqa: B018  # what is tested


def test_not_installed(fresh_discovery, monkeypatch):
    # Where the real distribution is installed, it must not be found.
    monkeypatch.setattr("aleator.plugins.absences.is_installed", lambda name: False)
    monkeypatch.setattr("aleator.plugins.registry.discover", lambda official: ())
    refresh()
    advice = r"^RenyiELBO is provided by aleator-renyi; run: pip install aleator-renyi$"
    with pytest.raises(MissingPluginError, match=advice):
        infer.RenyiELBO  # noqa: B018  # what is tested
    with pytest.raises(MissingPluginError, match=advice):
        from aleator.infer import RenyiELBO  # noqa: F401  # the text must survive this form
    assert not infer.is_available("RenyiELBO")


def test_installed_but_broken(fresh_discovery):
    fresh_discovery.install("aleator-renyi", "import no_such_module")
    with pytest.raises(PluginLoadError, match=r"installed but broken: .*no_such_module"):
        infer.RenyiELBO  # noqa: B018  # what is tested


def test_disabled(fresh_discovery, monkeypatch):
    renyi(fresh_discovery)
    monkeypatch.setenv("ALEATOR_DISABLE_PLUGINS", "*")
    refresh()
    with pytest.raises(MissingPluginError, match=r"installed and disabled by ALEATOR_DISABLE_PLUGINS=\*"):
        infer.RenyiELBO  # noqa: B018  # what is tested


def test_installed_without_its_entry_point(fresh_discovery):
    metadata = fresh_discovery.install("aleator-renyi", "")
    (metadata / "entry_points.txt").unlink()
    with pytest.raises(PluginLoadError, match="installed without its entry point; run: pip install --force-reinstall"):
        infer.RenyiELBO  # noqa: B018  # what is tested


def test_asking_whether_a_broken_plugin_is_available_says_no_and_warns_once(fresh_discovery):
    fresh_discovery.install("aleator-renyi", "import no_such_module")
    with pytest.warns(PluginWarning, match="no_such_module"):
        assert not infer.is_available("RenyiELBO")
    assert not infer.is_available("RenyiELBO")
    assert "RenyiELBO" not in dir(infer)


def test_strict_mode_raises_where_one_asks_and_never_in_a_listing(fresh_discovery, monkeypatch):
    fresh_discovery.install("aleator-renyi", "import no_such_module")
    monkeypatch.setenv("ALEATOR_PLUGINS_STRICT", "1")
    refresh()
    with pytest.raises(PluginLoadError):
        infer.is_available("RenyiELBO")
    assert "RenyiELBO" not in dir(infer)


@pytest.mark.parametrize(
    ("name", "hint"),
    [("renyielbo", "RenyiELBO"), ("Trace_ELBOW", "Trace_ELBO"), ("pure_stepp", "pure_step"), ("qwzx", None)],
)
def test_an_unknown_name_is_an_attribute_error_with_the_nearest(name, hint):
    text = f"module 'aleator.infer' has no attribute '{name}'" + (f"; did you mean '{hint}'?" if hint else "")
    with pytest.raises(AttributeError) as caught:
        getattr(infer, name)
    assert str(caught.value) == text
    assert not infer.is_available(name)
    assert not hasattr(handlers, name)


def test_special_and_private_names_look_nothing_up(monkeypatch):
    monkeypatch.setitem(sys.modules, "aleator.plugins.registry", None)
    for name in ("__wrapped__", "_repr_html_", "no_such_name"):
        assert not hasattr(infer, name)
    # A submodule's name does not start a discovery either.
    assert importlib.import_module("aleator.infer.factor") is sys.modules["aleator.infer.factor"]


def test_third_parties_are_found_by_name_and_are_no_attributes(fresh_discovery):
    fresh_discovery.install("acme-vr", fresh_discovery.manifest(estimators=("acme/VRMax",)))
    assert infer.is_available("acme/VRMax")
    assert infer.get_estimator("acme/VRMax").__module__ == "acme_vr.estimators"
    assert infer.get_estimator("acme-vr:acme/VRMax") is infer.get_estimator("acme/VRMax")
    assert not infer.is_available("acme/Other")
    assert not any("/" in name for name in dir(infer))
    assert not hasattr(infer, "acme/VRMax")


def test_an_estimator_that_is_none_is_refused_at_its_first_use(fresh_discovery):
    body = """
@hookimpl
def aleator_estimators():
    return [EstimatorSpec(name="acme/Wrong", target="collections:OrderedDict", summary="x")]
"""
    fresh_discovery.install("acme-vr", fresh_discovery.manifest(body), version="4.2")
    assert infer.is_available("acme/Wrong")
    with pytest.raises(PluginLoadError, match=r"acme-vr 4\.2 .*AbstractEstimator belongs"):
        infer.get_estimator("acme/Wrong")
