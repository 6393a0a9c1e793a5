"""The failure table of the design, row by row, on distributions that pip built and installed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# The modules beside this one; importlib's import mode puts no folder on the path.
sys.path.insert(0, str(Path(__file__).resolve().parent))

import failure_table
import projects

EXPECTED = {
    "import_error": "importing broken_import_error._plugin raised ModuleNotFoundError",
    "system_exit": "importing broken_system_exit._plugin raised SystemExit: this plugin needs a licence",
    "metadata": "its metadata is malformed: entry_points.txt has 'metadata = broken metadata'",
    "nameless": "its metadata is malformed: broken_nameless-1.2.dist-info/METADATA states no Name",
    "wrong_api": "built for API 2, this core speaks 1",
    "bad_signature": "it was not registered: its hook aleator_estimators(model",
    "unknown_hook": "it was not registered: it implements an unknown hook 'aleator_before_step'",
    "hook_raises": "its hook aleator_estimators raised RuntimeError: the table of estimators is empty",
    "official_name": "the name 'Importance' is official and stays with aleator-importance",
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    return projects.install_all(tmp_path_factory.mktemp("broken_plugins"))


@pytest.fixture(scope="module")
def report(installed):
    return failure_table.run_probe(installed[0])


def python(folder, *arguments, **variables):
    environment = failure_table.environment(folder, **variables)
    command = [sys.executable, *arguments]
    return subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)


def test_an_official_name_does_not_touch_broken_third_parties(report):
    assert report["official"] == "aleator_importance._plugin"
    assert report["imported"] == []


@pytest.mark.parametrize("case", EXPECTED)
def test_one_warning_names_the_culprit_and_all_else_works(report, case):
    seen = report["cases"][case]
    (warning,) = seen["healthy"]["warnings"]
    (distribution,) = failure_table.CASES[case].distributions
    assert warning.startswith(
        f"PluginWarning: plugin {distribution} 1.2 (entry point '{distribution.partition('-')[2]}'): "
    )
    assert EXPECTED[case] in warning
    assert seen["healthy"]["found"] == "VRMax"
    assert seen["again"] == {"warnings": [], "found": "VRMax"}
    assert seen["strict"]["error"] == "PluginLoadError"
    assert EXPECTED[case] in seen["strict"]["text"]


@pytest.mark.parametrize("case", ["bad_signature", "unknown_hook"])
def test_what_does_not_register_is_rolled_back_whole(report, case):
    """The sound hook of the same plugin must not stay registered."""
    used = report["cases"][case]["used"]
    assert used["error"] == "LookupError"
    assert "no plugin registers" in used["text"]
    assert EXPECTED[case] in used["text"]


@pytest.mark.parametrize(
    ("case", "name", "reason"),
    [
        ("bad_target", "target/Missing", "ModuleNotFoundError: No module named 'broken_bad_target.missing'"),
        ("not_an_estimator", "contract/Wrong", "is the class OrderedDict, where a class derived from"),
    ],
)
def test_a_bad_target_is_an_error_at_first_use_of_its_name_only(report, case, name, reason):
    seen = report["cases"][case]
    (distribution,) = failure_table.CASES[case].distributions
    assert seen["healthy"] == {"warnings": [], "found": "VRMax"}
    for use in ("used", "strict"):
        assert seen[use]["error"] == "PluginLoadError"
        assert seen[use]["text"].startswith(f"estimator '{name}' of {distribution} 1.2 (entry point ")
        assert reason in seen[use]["text"]


def test_a_name_of_two_third_parties_is_alone_ambiguous(report):
    seen = report["cases"]["duplicate_name"]
    assert seen["healthy"] == {"warnings": [], "found": "VRMax"}
    for use in ("used", "strict"):
        assert seen[use]["error"] == "AmbiguousPluginError"
        for distribution in ("broken-duplicate-a", "broken-duplicate-b"):
            assert f"{distribution} 1.2" in seen[use]["text"]
            assert f"'{distribution}:shared/VRMax'" in seen[use]["text"]


def test_an_official_name_stays_with_its_owner(report):
    assert report["cases"]["official_name"]["used"]["found"] == "Importance"


def test_a_broken_official_plugin_is_called_broken_and_not_missing(report):
    seen = report["cases"]["official"]
    assert seen["healthy"]["found"] == "VRMax"
    assert seen["used"]["error"] == "PluginLoadError"
    assert "aleator-renyi 1.2 (entry point 'renyi'), which is installed but broken" in seen["used"]["text"]


def test_a_keyboard_interrupt_passes(installed):
    use = "from aleator import infer; infer.get_estimator('healthy/VRMax')"
    interrupted = python(installed[1], "-c", use)
    assert interrupted.returncode != 0
    assert interrupted.stderr.rstrip().endswith("KeyboardInterrupt")


def test_the_overview_lists_all_of_it_and_fails_under_strict_alone(installed):
    relaxed = python(installed[0], "-m", "aleator.plugins", "-v")
    assert relaxed.returncode == 0, relaxed.stderr
    for distribution in (*projects.BROKEN, *projects.HEALTHY):
        assert distribution in relaxed.stdout
    for reason in EXPECTED.values():
        assert reason in relaxed.stdout
    assert "No module named 'broken_bad_target.missing'" in relaxed.stdout
    assert "'shared/VRMax' is registered by" in relaxed.stdout
    assert "Traceback (most recent call last)" in relaxed.stdout
    assert relaxed.stderr == ""
    assert python(installed[0], "-m", "aleator.plugins", ALEATOR_PLUGINS_STRICT="1").returncode == 1
    calm = python(installed[0], "-m", "aleator.plugins", ALEATOR_PLUGINS_STRICT="1", ALEATOR_DISABLE_PLUGINS="*")
    assert calm.returncode == 0


def test_the_page_shows_these_messages(report):
    """Written by ``python integration_tests/broken_plugins/failure_table.py``."""
    text = failure_table.page(report)
    print(text)
    assert failure_table.PAGE.read_text(encoding="utf-8") == text
