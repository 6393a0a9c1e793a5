"""The failure table of the design, row by row, on distributions that exist as files."""

from __future__ import annotations

import gc
import sys
import warnings
import weakref

import pytest

from aleator.errors import AmbiguousPluginError, PluginLoadError, PluginWarning
from aleator.plugins.kinds import ALGORITHM, ESTIMATOR, HANDLER

HEALTHY = "zeta/Good"

ROWS = {
    "import": ("raise ImportError('no such part')", "importing acme_vr._plugin raised ImportError: no such part"),
    "exit": ("raise SystemExit(3)", "importing acme_vr._plugin raised SystemExit: 3"),
    "api": ("ALEATOR_PLUGIN_API = 2", "built for API 2, this core speaks 1; run: pip install --upgrade aleator-core"),
    "old api": ("ALEATOR_PLUGIN_API = 0", "built for API 0, this core speaks 1; run: pip install --upgrade acme-vr"),
    "no api": ("", "acme_vr._plugin does not state ALEATOR_PLUGIN_API; this core speaks 1"),
    "odd api": ("ALEATOR_PLUGIN_API = 'one'", "built for API 'one', this core speaks 1"),
    "signature": (
        "{head}@hookimpl\ndef aleator_handlers(site): return []",
        "its hook aleator_handlers(site) takes arguments, and collection hooks take none",
    ),
    "unknown hook": ("{head}@hookimpl\ndef aleator_samplers(): return []", "unknown hook 'aleator_samplers'"),
    "no hook": ("{head}", "it implements no hook"),
    "hook raises": (
        "{head}@hookimpl\ndef aleator_handlers(): raise RuntimeError('empty shelf')",
        "its hook aleator_handlers raised RuntimeError: empty shelf (acme_vr/_plugin.py, line 4)",
    ),
    "hook exits": (
        "{head}@hookimpl\ndef aleator_handlers(): raise SystemExit",
        "its hook aleator_handlers raised SystemExit",
    ),
    "hook raises late": (
        "{head}@hookimpl\ndef aleator_handlers():\n    yield 1\n    raise RuntimeError('late')",
        "its hook aleator_handlers raised RuntimeError: late",
    ),
    "hook forgets": ("{head}@hookimpl\ndef aleator_handlers(): pass", "its hook aleator_handlers returned None"),
    "hook gives text": ("{head}@hookimpl\ndef aleator_handlers(): return 'ab'", "returned 'ab', where a list belongs"),
    "wrong type": ("{head}@hookimpl\ndef aleator_handlers(): return [3]", "gave 3, where HandlerSpec objects belong"),
    "no vendor": (
        "{head}@hookimpl\ndef aleator_handlers(): return [HandlerSpec(name='hush', target='a:b', summary='x')]",
        "the handler 'hush' has no vendor: a third party's name is 'vendor/hush'",
    ),
    "official name": (
        "{head}@hookimpl\ndef aleator_handlers(): return [HandlerSpec(name='halo', target='a:b', summary='x')]",
        "the name 'halo' is official and stays with aleator-star",
    ),
    "twice": (
        "{head}@hookimpl\ndef aleator_handlers(): return [HandlerSpec(name='a/b', target='a:b', summary='x')] * 2",
        "gives the name 'a/b' twice",
    ),
}
HEAD = "from aleator.plugins import HandlerSpec, hookimpl\nALEATOR_PLUGIN_API = 1\n"


def install_row(environment, row):
    environment.install("acme-vr", ROWS[row][0].format(head=HEAD))
    environment.install("zeta-vr", environment.manifest(estimators=(HEALTHY,)))


@pytest.mark.parametrize("row", ROWS)
def test_a_broken_plugin_is_named_once_and_costs_nobody_else(environment, row):
    install_row(environment, row)
    registry = environment.registry()
    with pytest.warns(PluginWarning) as caught:
        registry.load()
    assert len(caught) == 1
    text = str(caught[0].message)
    assert text.startswith("plugin acme-vr 1.0 (entry point 'acme-vr'): ")
    assert ROWS[row][1] in text
    assert "ALEATOR_DISABLE_PLUGINS=acme-vr silences this" in text
    assert registry.resolve([ESTIMATOR], HEALTHY).__name__ == "Found"
    # Once per process, also after a new discovery: any second warning would be an error here.
    environment.registry().load()


@pytest.mark.parametrize("row", ROWS)
def test_strict_raises_every_time(environment, row):
    install_row(environment, row)
    registry = environment.registry(strict=True)
    for _ in range(2):
        with pytest.raises(PluginLoadError, match="ALEATOR_PLUGINS_STRICT is set") as caught:
            registry.resolve([ESTIMATOR], HEALTHY)
        assert ROWS[row][1] in str(caught.value)


@pytest.mark.parametrize("row", ROWS)
def test_a_disabled_plugin_is_not_touched(environment, row):
    install_row(environment, row)
    registry = environment.registry(strict=True, disable=("acme-vr",))
    registry.load()
    assert registry.resolve([ESTIMATOR], HEALTHY).__name__ == "Found"
    assert "acme_vr" not in sys.modules


def test_the_warning_points_at_the_users_line(environment):
    install_row(environment, "import")
    with pytest.warns(PluginWarning) as caught:
        environment.registry().load()
    assert caught[0].filename == __file__


def test_a_warning_turned_into_an_error_does_not_block_the_rest(environment):
    install_row(environment, "import")
    registry = environment.registry()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(PluginWarning):
            registry.resolve([ESTIMATOR], HEALTHY)
        assert registry.resolve([ESTIMATOR], HEALTHY).__name__ == "Found"


def test_only_the_hook_that_raises_loses_its_results(environment):
    body = "@hookimpl\ndef aleator_handlers():\n    raise RuntimeError('empty shelf')"
    environment.install("acme-vr", environment.manifest(body, estimators=("acme/A",)))
    registry = environment.registry()
    with pytest.warns(PluginWarning, match="empty shelf"):
        assert registry.resolve([ESTIMATOR], "acme/A").__name__ == "Found"


def test_a_good_descriptor_beside_a_bad_one_stays(environment):
    environment.install("acme-vr", environment.manifest(estimators=("Bare", "acme/A")))
    registry = environment.registry()
    with pytest.warns(PluginWarning, match="'vendor/Bare'; that one is left out"):
        assert registry.resolve([ESTIMATOR], "acme/A").__name__ == "Found"


@pytest.mark.parametrize("where", ["import", "hook"])
def test_a_keyboard_interrupt_passes_and_leaves_the_plugin_as_found(environment, where):
    flag = environment.folder / "interrupt"
    flag.touch()
    interrupt = f"from pathlib import Path\n{{}}if Path({str(flag)!r}).exists(): raise KeyboardInterrupt"
    if where == "import":
        body = interrupt.format("")
    else:
        body = "@hookimpl\ndef aleator_handlers():\n    " + interrupt.format("    ") + "\n    return []"
    environment.install("acme-vr", environment.manifest(body, estimators=("acme/A",)))
    registry = environment.registry()
    with pytest.raises(KeyboardInterrupt):
        registry.load()
    flag.unlink()
    registry.load()
    assert registry.resolve([ESTIMATOR], "acme/A").__name__ == "Found"


def test_a_recorded_failure_keeps_no_frame_alive(environment):
    """A traceback would pin every local of the program that asked: its tensors, its model."""
    install_row(environment, "import")
    registry = environment.registry()

    class Large:
        pass

    def program():
        large = Large()
        with pytest.warns(PluginWarning):
            registry.load()
        return weakref.ref(large)

    reference = program()
    gc.collect()
    assert reference() is None
    (broken,) = (plugin for plugin in registry.plugins if plugin.failures)
    assert "raise ImportError('no such part')" in broken.failures[0].traceback


# ---- targets


def spec_source(kind, name, target):
    hook, spec = {
        "estimator": ("aleator_estimators", "EstimatorSpec"),
        "algorithm": ("aleator_algorithms", "AlgorithmSpec"),
    }[kind]
    return f"@hookimpl\ndef {hook}():\n    return [{spec}(name={name!r}, target={target!r}, summary='x')]"


@pytest.mark.parametrize(
    ("target", "reason"),
    [
        ("acme_vr.missing:VRMax", "ModuleNotFoundError: No module named 'acme_vr.missing'"),
        ("acme_vr.estimators:VRMax", "AttributeError: module 'acme_vr.estimators' has no attribute 'VRMax'"),
        ("acme_vr._plugin:hookimpl", "is an object of type HookimplMarker, where a class derived from "),
        ("acme_vr._plugin:EstimatorSpec", "is the class EstimatorSpec, where a class derived from "),
    ],
)
def test_a_bad_target_is_an_error_at_first_use_of_that_name_only(environment, target, reason):
    body = spec_source("algorithm", "acme/Good", "acme_vr.estimators:Found")
    source = environment.manifest(spec_source("estimator", "acme/VRMax", target) + "\n" + body)
    environment.install("acme-vr", source, version="1.2")
    registry = environment.registry(strict=True)
    registry.load()
    for _ in range(2):
        with pytest.raises(PluginLoadError) as caught:
            registry.resolve([ESTIMATOR], "acme/VRMax")
        text = str(caught.value)
        assert text.startswith("estimator 'acme/VRMax' of acme-vr 1.2 (entry point 'acme-vr'): its target ")
        assert reason in text
        assert "authors of acme-vr" in text
    assert registry.resolve([ALGORITHM], "acme/Good").__name__ == "Found"


def test_a_target_that_exits_does_not_end_the_process(environment):
    (environment.folder / "exits.py").write_text("raise SystemExit(4)")
    environment.install("acme-vr", environment.manifest(spec_source("algorithm", "acme/Good", "exits:x")))
    with pytest.raises(PluginLoadError, match=r"SystemExit: 4 \(.*/exits.py, line 1\)"):
        environment.registry().resolve([ALGORITHM], "acme/Good")


def test_a_target_that_is_repaired_is_found_at_the_next_use(environment):
    environment.install("acme-vr", environment.manifest(spec_source("algorithm", "acme/Good", "repaired:x")))
    registry = environment.registry()
    with pytest.raises(PluginLoadError):
        registry.resolve([ALGORITHM], "acme/Good")
    (environment.folder / "repaired.py").write_text("x = 5")
    import importlib

    importlib.invalidate_caches()
    assert registry.resolve([ALGORITHM], "acme/Good") == 5


def test_an_algorithm_may_be_a_module(environment):
    environment.install("acme-vr", environment.manifest(spec_source("algorithm", "acme/Good", "acme_vr.estimators")))
    assert environment.registry().resolve([ALGORITHM], "acme/Good").__name__ == "acme_vr.estimators"


# ---- conflicts


def test_two_third_parties_with_one_name_make_that_name_alone_ambiguous(environment):
    environment.install("acme-vr", environment.manifest(estimators=("vr/Max", "acme/Own")), version="1.0")
    environment.install("zeta-vr", environment.manifest(estimators=("vr/Max",)), version="2.0")
    registry = environment.registry()
    with pytest.raises(AmbiguousPluginError) as caught:
        registry.resolve([ESTIMATOR], "vr/Max")
    text = str(caught.value)
    for part in (
        "acme-vr 1.0",
        "zeta-vr 2.0",
        "'acme-vr:vr/Max' or 'zeta-vr:vr/Max'",
        "import the class from its own package",
        "ALEATOR_DISABLE_PLUGINS=zeta-vr",
    ):
        assert part in text
    assert registry.resolve([ESTIMATOR], "acme/Own").__module__ == "acme_vr.estimators"
    assert registry.resolve([ESTIMATOR], "zeta-vr:vr/Max").__module__ == "zeta_vr.estimators"
    assert registry.resolve([ESTIMATOR], "Acme_VR:vr/Max").__module__ == "acme_vr.estimators"
    disabled = environment.registry(disable=("zeta-vr",))
    assert disabled.resolve([ESTIMATOR], "vr/Max").__module__ == "acme_vr.estimators"
    with pytest.raises(AmbiguousPluginError):
        environment.registry(strict=True).resolve([ESTIMATOR], "acme/Own")


def test_an_official_name_wins_over_a_third_partys(environment):
    environment.install("acme-vr", environment.manifest(estimators=("Star_ELBO",)))
    environment.install("aleator-star", environment.manifest(estimators=("Star_ELBO",)))
    registry = environment.registry()
    with pytest.warns(PluginWarning, match="'Star_ELBO' is official and stays with aleator-star"):
        registry.load()
    assert registry.resolve([ESTIMATOR], "Star_ELBO").__module__ == "aleator_star.estimators"


def test_one_name_for_two_kinds_is_no_conflict(environment):
    environment.install("acme-vr", environment.manifest(estimators=("vr/Max",)))
    environment.install("zeta-vr", environment.manifest(spec_source("algorithm", "vr/Max", "zeta_vr.estimators:Found")))
    registry = environment.registry(strict=True)
    assert registry.resolve([ESTIMATOR], "vr/Max").__module__ == "acme_vr.estimators"
    assert registry.resolve([ALGORITHM], "vr/Max").__module__ == "zeta_vr.estimators"
    with pytest.raises(LookupError, match="no plugin registers 'vr/Max'"):
        registry.resolve([HANDLER], "vr/Max")
