"""What a user is told who asks for a plugin's name with the core alone."""

from __future__ import annotations

import subprocess
import sys

import pytest

import aleator
from aleator import handlers, infer
from aleator.errors import MissingPluginError

ADVICE = "Trace_ELBO is provided by aleator-svi-elbo; run: pip install aleator-svi-elbo"


def test_an_official_name_says_what_to_install():
    with pytest.raises(MissingPluginError) as caught:
        _ = infer.Trace_ELBO
    assert str(caught.value) == ADVICE


def test_the_advice_survives_a_from_import():
    with pytest.raises(ImportError) as caught:
        from aleator.infer import SVI  # noqa: F401  # the statement is what is tested
    assert str(caught.value) == "SVI is provided by aleator-svi-elbo; run: pip install aleator-svi-elbo"


def test_a_name_that_nobody_provides_is_an_attribute_error():
    with pytest.raises(AttributeError, match="Trace_ELBOW"):
        _ = infer.Trace_ELBOW
    assert not hasattr(handlers, "no_such_handler")


def test_what_is_missing_is_not_listed():
    assert not infer.is_available("Trace_ELBO")
    assert "Trace_ELBO" not in dir(infer)
    assert "get_estimator" in dir(infer)


def test_a_registered_name_says_what_to_install():
    with pytest.raises(MissingPluginError) as caught:
        infer.get_estimator("Trace_ELBO")
    assert str(caught.value) == ADVICE


def test_the_overview_runs_and_finds_no_plugin():
    command = [sys.executable, "-m", "aleator.plugins"]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    assert "aleator-svi-elbo" not in result.stdout or "not installed" in result.stdout


def test_every_public_name_of_the_core_resolves():
    for module in (aleator, handlers, infer):
        for name in module.__all__:
            assert getattr(module, name) is not None, f"{module.__name__}.{name}"
