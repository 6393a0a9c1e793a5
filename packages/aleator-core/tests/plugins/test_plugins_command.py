from __future__ import annotations

import pytest

from aleator.plugins.__main__ import main
from aleator.plugins.overview import overview


@pytest.fixture
def printed(fresh_discovery, capsys):
    def run(*arguments):
        code = main(arguments)
        return code, capsys.readouterr().out

    return run


def row(text, distribution):
    return next(line.split() for line in text.splitlines() if line.startswith(distribution + " "))


def test_healthy_plugins(fresh_discovery, printed):
    keys = "@hookimpl\ndef aleator_infer_keys():\n    return ['acme_temperature']"
    fresh_discovery.install("acme-vr", fresh_discovery.manifest(keys, estimators=("acme/B", "acme/A")), version="1.2")
    code, text = printed()
    assert code == 0
    assert "plugin API 1, entry-point group 'aleator'" in text
    assert row(text, "acme-vr") == ["acme-vr", "1.2", "acme-vr", "ok", "estimators:", "acme/A,", "acme/B"]
    assert "infer keys: acme_temperature" in text
    assert "failures" not in text


def test_official_distributions_that_are_not_here(environment):
    environment.install("aleator-star", environment.manifest(estimators=("Star_ELBO",)))
    registry = environment.registry()
    registry.load_quietly()
    text, failures = overview(registry)
    assert failures == 0
    assert text.endswith("official, not installed\n  aleator-moon: Moon_ELBO")


def test_failures_with_their_cause(fresh_discovery, printed, monkeypatch):
    fresh_discovery.install("acme-vr", "raise ImportError('no such part')", version="1.2")
    fresh_discovery.install("mid-vr", fresh_discovery.manifest(estimators=("Bare", "mid/A")))
    code, text = printed()
    assert code == 0
    assert row(text, "acme-vr") == ["acme-vr", "1.2", "acme-vr", "failed", "-"]
    assert "ok, in part" in text
    assert "acme-vr 1.2 (entry point 'acme-vr'): importing acme_vr._plugin raised ImportError: no such part" in text
    assert "Traceback" not in text
    monkeypatch.setenv("ALEATOR_PLUGINS_STRICT", "1")
    assert printed()[0] == 1


def test_verbose_imports_targets_and_shows_tracebacks(fresh_discovery, printed, monkeypatch):
    body = """
@hookimpl
def aleator_algorithms():
    return [AlgorithmSpec(name="acme/Gone", target="acme_vr.gone:Gone", summary="x")]
"""
    fresh_discovery.install("acme-vr", fresh_discovery.manifest(body))
    fresh_discovery.install("mid-vr", "raise ImportError('no such part')")
    assert "acme_vr.gone" not in printed()[1]
    code, text = printed("-v")
    assert code == 0
    assert "algorithm 'acme/Gone' of acme-vr 1.0 (entry point 'acme-vr'): its target acme_vr.gone:Gone" in text
    assert "Traceback (most recent call last)" in text
    fresh_discovery.install("zeta-vr", "")
    monkeypatch.setenv("ALEATOR_DISABLE_PLUGINS", "mid-vr,zeta-vr,misspelt")
    monkeypatch.setenv("ALEATOR_PLUGINS_STRICT", "1")
    assert printed()[0] == 0
    code, text = printed("-v")
    assert code == 1
    assert row(text, "zeta-vr")[3] == "disabled"
    assert "'misspelt' matches no plugin" in text


def test_conflicts_are_listed_and_count(fresh_discovery, printed, monkeypatch):
    for name in ("acme-vr", "zeta-vr"):
        fresh_discovery.install(name, fresh_discovery.manifest(estimators=("vr/Max",)))
    monkeypatch.setenv("ALEATOR_PLUGINS_STRICT", "1")
    code, text = printed()
    assert code == 1
    assert "'vr/Max' is registered by acme-vr 1.0 (entry point 'acme-vr') and zeta-vr 1.0" in text
