from __future__ import annotations

import importlib
import sys
import threading

import pytest

from aleator.errors import MissingPluginError, PluginLoadError, PluginWarning
from aleator.plugins.kinds import ALGORITHM, ESTIMATOR, HANDLER
from aleator.plugins.registry import current, refresh


def test_an_official_name_loads_its_own_distribution_alone(environment):
    environment.install("aleator-star", environment.manifest(estimators=("Star_ELBO",)))
    environment.install("aleator-moon", "raise AssertionError('imported for another name')")
    environment.install("acme-vr", "raise AssertionError('imported for an official name')")
    registry = environment.registry(strict=True)
    assert registry.resolve([ESTIMATOR, ALGORITHM], "Star_ELBO").__module__ == "aleator_star.estimators"
    assert not {"acme_vr", "aleator_moon"} & set(sys.modules)


def test_the_target_is_imported_at_first_use_and_once(environment):
    environment.install("aleator-star", environment.manifest(estimators=("Star_ELBO",)))
    registry = environment.registry()
    registry.find([ESTIMATOR], "Star_ELBO")
    assert "aleator_star.estimators" not in sys.modules
    first = registry.resolve([ESTIMATOR], "Star_ELBO")
    assert registry.resolve([ESTIMATOR], "Star_ELBO") is first


def test_not_installed(environment):
    with pytest.raises(MissingPluginError) as caught:
        environment.registry().resolve([ESTIMATOR], "Star_ELBO")
    assert str(caught.value) == "Star_ELBO is provided by aleator-star; run: pip install aleator-star"


def test_installed_but_broken(environment):
    environment.install("aleator-star", "import no_such_module", version="0.3")
    registry = environment.registry()
    for _ in range(2):
        with pytest.raises(PluginLoadError) as caught:
            registry.resolve([ESTIMATOR], "Star_ELBO")
        assert str(caught.value) == (
            "Star_ELBO is provided by aleator-star 0.3 (entry point 'star'), which is installed but broken: "
            "importing aleator_star._plugin raised ModuleNotFoundError: No module named 'no_such_module' "
            "(aleator_star/_plugin.py, line 1); 'python -m aleator.plugins -v' shows more"
        )
        assert isinstance(caught.value.__cause__, ModuleNotFoundError)


@pytest.mark.parametrize("setting", ["aleator-star", "star", "*"])
def test_disabled(environment, setting):
    environment.install("aleator-star", environment.manifest(estimators=("Star_ELBO",)))
    with pytest.raises(MissingPluginError) as caught:
        environment.registry(disable=(setting,)).resolve([ESTIMATOR], "Star_ELBO")
    assert str(caught.value) == (
        "Star_ELBO is provided by aleator-star, which is installed and disabled by "
        f"ALEATOR_DISABLE_PLUGINS={setting}; take it off that list"
    )


def test_too_old_to_offer_the_name(environment):
    environment.install("aleator-star", environment.manifest(estimators=("Star_ELBO",)), version="0.1")
    with pytest.raises(MissingPluginError, match=r"aleator-star 0.1 .* does not offer it; run: pip install --upgrade"):
        environment.registry().resolve([ALGORITHM], "StarSVI")


def test_a_name_of_another_kind_is_called_so(environment):
    body = "@hookimpl\ndef aleator_algorithms():\n    return [AlgorithmSpec(name='StarSVI', target='sys', summary='x')]"
    environment.install("aleator-star", environment.manifest(body))
    with pytest.raises(
        LookupError, match=r"'StarSVI' of aleator-star is of kind algorithm, where .* estimator belongs"
    ):
        environment.registry().resolve([ESTIMATOR], "StarSVI")


def test_unknown_names_get_the_nearest_and_every_reason(environment):
    environment.install("acme-vr", environment.manifest(estimators=("acme/VRMax",)))
    environment.install("mid-vr", "raise ImportError('no such part')")
    environment.install("zeta-vr", "")
    registry = environment.registry(disable=("zeta-vr",))
    with pytest.warns(PluginWarning), pytest.raises(LookupError) as caught:
        registry.resolve([ESTIMATOR], "vrmax")
    text = str(caught.value)
    assert "no plugin registers 'vrmax'; did you mean 'acme/VRMax'?" in text
    assert "failed: mid-vr 1.0" in text
    assert "no such part" in text
    assert "disabled by ALEATOR_DISABLE_PLUGINS=zeta-vr: zeta-vr" in text


def test_a_plugin_that_uses_official_names_while_it_is_imported(environment):
    environment.install("aleator-star", environment.manifest(estimators=("Star_ELBO",)))
    environment.install("acme-vr", environment.manifest(estimators=("acme/VRMax",)))
    registry = environment.registry(strict=True)
    seen = []
    sys.modules["acme_asks"] = type(sys)("acme_asks")
    sys.modules["acme_asks"].ask = lambda: seen.append(registry.resolve([ESTIMATOR], "Star_ELBO"))  # type: ignore[attr-defined]  # a stand-in
    try:
        (environment.folder / "acme_vr" / "__init__.py").write_text("import acme_asks; acme_asks.ask()")
        assert registry.resolve([ESTIMATOR], "acme/VRMax").__module__ == "acme_vr.estimators"
    finally:
        del sys.modules["acme_asks"]
    assert [found.__module__ for found in seen] == ["aleator_star.estimators"]


def test_a_plugin_that_asks_for_its_own_names_while_it_is_imported_is_told(environment):
    environment.install("aleator-star", environment.manifest(estimators=("Star_ELBO",)))
    registry = environment.registry()
    sys.modules["star_asks"] = type(sys)("star_asks")
    sys.modules["star_asks"].ask = lambda: registry.resolve([ESTIMATOR], "Star_ELBO")  # type: ignore[attr-defined]  # a stand-in
    try:
        (environment.folder / "aleator_star" / "__init__.py").write_text("import star_asks; star_asks.ask()")
        with pytest.raises(PluginLoadError, match="asks for it while it is itself being loaded"):
            registry.resolve([ESTIMATOR], "Star_ELBO")
    finally:
        del sys.modules["star_asks"]


def test_many_threads_get_one_object(environment):
    source = "import time\ntime.sleep(0.05)\n" + environment.manifest(estimators=("acme/VRMax",))
    environment.install("acme-vr", source)
    environment.install("mid-vr", "raise ImportError('no such part')")
    registry = environment.registry()
    barrier = threading.Barrier(8)
    found, failed = [], []

    def look_up():
        barrier.wait()
        try:
            found.append(registry.resolve([ESTIMATOR], "acme/VRMax"))
        except PluginWarning as warning:  # warnings are errors here: exactly one thread is told
            failed.append(warning)

    threads = [threading.Thread(target=look_up) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(failed) == 1
    assert len(found) == 7
    assert len(set(map(id, found))) == 1


@pytest.fixture
def asking(environment):
    """Plugins whose manifest is the package itself and calls ``ask`` while it is imported."""
    module = type(sys)("acme_asks")
    sys.modules["acme_asks"] = module

    def install(distribution, name):
        metadata = environment.install(distribution, "")
        package = distribution.replace("-", "_")
        source = "import acme_asks\nacme_asks.ask()\n" + environment.manifest(estimators=(name,))
        source = source.replace("__name__.rpartition('.')[0]", "__name__")
        (environment.folder / package / "__init__.py").write_text(source)
        (metadata / "entry_points.txt").write_text(f"[aleator]\n{distribution} = {package}\n")
        return module

    yield install
    del sys.modules["acme_asks"]


def test_a_manifest_that_somebody_is_importing_is_no_failure(environment, asking):
    """The user imports the package, and that import looks a name up: half the manifest must not be judged."""
    asked = []
    module = asking("acme-vr", "acme/VRMax")
    environment.install("zeta-vr", environment.manifest(estimators=("zeta/VRMax",)))
    registry = environment.registry(strict=True)
    module.ask = lambda: asked.append(registry.resolve([ESTIMATOR], "zeta/VRMax"))
    importlib.import_module("acme_vr")
    assert [found.__module__ for found in asked] == ["zeta_vr.estimators"]
    assert registry.resolve([ESTIMATOR], "acme/VRMax").__module__ == "acme_vr.estimators"


def test_a_thread_that_imports_the_plugin_itself_does_not_lock_out_the_others(environment, asking):
    """With a lock held over imports, each of the two threads would wait for what the other holds."""
    module = asking("acme-vr", "acme/VRMax")
    environment.install("zeta-vr", environment.manifest(estimators=("zeta/VRMax",)))
    registry = environment.registry(strict=True)
    importing, may_ask = threading.Event(), threading.Event()
    asked, looked = [], []

    def ask():
        importing.set()
        may_ask.wait(5)
        asked.append(registry.resolve([ESTIMATOR], "zeta/VRMax"))

    module.ask = ask
    importer = threading.Thread(target=importlib.import_module, args=("acme_vr",), daemon=True)
    importer.start()
    assert importing.wait(5)
    looker = threading.Thread(target=lambda: looked.append(registry.resolve([ESTIMATOR], "acme/VRMax")), daemon=True)
    looker.start()
    looker.join(0.2)
    may_ask.set()
    importer.join(5)
    looker.join(5)
    assert not importer.is_alive()
    assert not looker.is_alive()
    assert [found.__module__ for found in (*asked, *looked)] == ["zeta_vr.estimators", "acme_vr.estimators"]


def test_handlers_have_a_table_of_their_own(environment):
    body = "@hookimpl\ndef aleator_handlers():\n    return [HandlerSpec(name='halo', target='sys:path', summary='x')]"
    environment.install("aleator-star", environment.manifest(body))
    registry = environment.registry()
    assert registry.resolve([HANDLER], "halo") is sys.path
    with pytest.raises(LookupError, match="no plugin registers 'halo'"):
        registry.resolve([ESTIMATOR], "halo")


def test_refresh_sees_what_was_installed_and_set_since(fresh_discovery, monkeypatch):
    first = current()
    assert current() is first
    fresh_discovery.install("acme-vr", fresh_discovery.manifest(estimators=("acme/Fresh",)))
    assert "acme-vr" not in {plugin.record.distribution for plugin in current().plugins}
    refresh()
    assert current().resolve([ESTIMATOR], "acme/Fresh").__module__ == "acme_vr.estimators"
    monkeypatch.setenv("ALEATOR_DISABLE_PLUGINS", "acme-vr")
    refresh()
    with pytest.raises(LookupError, match="disabled"):
        current().resolve([ESTIMATOR], "acme/Fresh")
