"""The two languages that the handler tests run against: the core, and its executable specification."""

import importlib.util
import os
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import aleator

MINIMAL = Path(
    os.environ.get("ALEATOR_MINIMAL", Path(__file__).resolve().parents[4] / "docs" / "design" / "minimal.py")
)


@pytest.fixture(autouse=True)
def own_state():
    """A store and a state of torch's generator for each test."""
    state = torch.get_rng_state()
    torch.manual_seed(20)
    with aleator.ParamStore():
        yield
    torch.set_rng_state(state)


@pytest.fixture(scope="session")
def minimal():
    """The module docs/design/minimal.py."""
    if not MINIMAL.exists():
        pytest.skip("docs/design/minimal.py is not here: set ALEATOR_MINIMAL to its path")
    spec = importlib.util.spec_from_file_location("aleator_minimal", MINIMAL)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def language_of(module, handlers, name):
    """The words that both languages have, under the same names."""
    words = {word: getattr(module, word) for word in ("sample", "param", "plate", "deterministic")}
    return SimpleNamespace(name=name, handlers=handlers, **words)


@pytest.fixture(params=["core", "minimal"])
def language(request):
    """The core, then the specification; a test that takes this holds for both."""
    if request.param == "core":
        return language_of(aleator, aleator.handlers, "core")
    module = request.getfixturevalue("minimal")
    module.PARAMS.clear()
    return language_of(module, module, "minimal")
