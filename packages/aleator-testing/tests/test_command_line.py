"""``python -m aleator_testing`` and ``check_plugin`` on a distribution that is installed in a folder."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from aleator_testing import check_plugin
from aleator_testing.mutants.wheels import WHEELS

BY_NAME = {wheel.name: wheel for wheel in WHEELS}


def run(place, *arguments):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(place), *sys.path])}
    command = [sys.executable, "-m", "aleator_testing", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment, check=False)


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    return BY_NAME["nothing is broken"].install(tmp_path_factory.mktemp("sound"))


def test_a_sound_plugin(sound):
    done = run(sound, "--plugin", "acme-sound")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "manifest_is_light" in done.stdout
    assert "failed" not in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["acme/NoSuch"], "acme/NoSuch"),
        (["--plugin", "no-such-plugin"], "no-such-plugin"),
        ([], "name an estimator"),
    ],
)
def test_unknown_names_and_none(sound, arguments, message):
    done = run(sound, *arguments)
    assert done.returncode == 2
    assert message in done.stderr


def test_a_distribution_that_is_not_installed():
    with pytest.raises(LookupError, match="no installed distribution 'no-such-plugin'"):
        check_plugin("no-such-plugin")
