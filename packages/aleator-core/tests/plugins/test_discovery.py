from __future__ import annotations

import sys

import pytest

from aleator.plugins.discovery import discover
from aleator.plugins.records import Stage


def found(environment, *more):
    return discover(environment.official, path=[str(environment.folder), *map(str, more)])


def test_official_first_then_sorted_whatever_the_order_of_installation(environment):
    for name in ("zeta-vr", "aleator-star", "acme-vr", "aleator-moon"):
        environment.install(name, environment.manifest())
    keys = [record.key for record in found(environment)]
    assert keys == ["aleator-moon:moon", "aleator-star:star", "acme-vr:acme-vr", "zeta-vr:zeta-vr"]


def test_no_plugin_is_imported(environment):
    environment.install("acme-vr", "raise AssertionError('imported by discovery')")
    (record,) = found(environment)
    assert record.failure is None
    assert record.label == "acme-vr 1.0 (entry point 'acme-vr')"
    assert "acme_vr" not in sys.modules


def test_equal_entry_point_names_do_not_hide_each_other(environment):
    environment.install("acme-vr", "", entry_point="vr")
    environment.install("zeta-vr", "", entry_point="vr")
    assert [record.key for record in found(environment)] == ["acme-vr:vr", "zeta-vr:vr"]


def test_the_version_that_python_imports_is_the_one_that_counts(environment, tmp_path):
    later = tmp_path / "later"
    environment.install("acme-vr", "", version="2.0")
    environment.install("acme-vr", "", version="1.0", folder=later)
    assert [record.version for record in found(environment, later)] == ["2.0"]


def test_a_version_without_plugin_hides_an_older_one_with(environment, tmp_path):
    later = tmp_path / "later"
    metadata = environment.install("acme-vr", "", version="2.0")
    (metadata / "entry_points.txt").unlink()
    environment.install("acme-vr", "", version="1.0", folder=later)
    assert found(environment, later) == ()


def test_other_groups_and_comments_are_passed_over(environment):
    metadata = environment.install("acme-vr", "")
    (metadata / "entry_points.txt").write_text(
        "[console_scripts]\nvr = acme_vr:main\n# [aleator]\n\n"
        "[ aleator ]\n# vr = no\nvr = acme_vr._plugin [extra]\n[x]\ny = z\n"
    )
    assert [(record.entry_point, record.module) for record in found(environment)] == [("vr", "acme_vr._plugin")]


def test_a_damaged_distribution_without_plugins_is_no_business_of_ours(environment):
    metadata = environment.install("acme-vr", "")
    (metadata / "entry_points.txt").write_text("[console_scripts]\nthis line has no equals sign\n")
    binary = environment.install("zeta-vr", "")
    (binary / "entry_points.txt").write_bytes(b"\xff\xfe\x00")
    assert found(environment) == ()


@pytest.mark.parametrize(
    ("file", "text", "reason"),
    [
        ("entry_points.txt", "[aleator]\nvr acme_vr._plugin\n", "has 'vr acme_vr._plugin' in group 'aleator'"),
        ("entry_points.txt", "[aleator]\nvr = acme vr\n", "has 'vr = acme vr' in group 'aleator'"),
        ("METADATA", "Metadata-Version: 2.1\nVersion: 1.0\n", "METADATA states no Name"),
        ("METADATA", "Metadata-Version: 2.1\nName: acme-vr\n", "METADATA states no Version"),
    ],
)
def test_malformed_metadata_is_recorded_and_costs_nobody_else(environment, file, text, reason):
    metadata = environment.install("acme-vr", "")
    (metadata / file).write_text(text)
    environment.install("zeta-vr", "")
    broken, healthy = found(environment)
    assert broken.distribution == "acme-vr"
    assert broken.failure is not None
    assert broken.failure.stage is Stage.METADATA
    assert reason in broken.failure.reason
    assert healthy.failure is None


def test_missing_metadata_is_recorded(environment):
    metadata = environment.install("acme-vr", "")
    (metadata / "METADATA").unlink()
    (record,) = found(environment)
    assert record.failure is not None
    assert record.failure.stage is Stage.METADATA
