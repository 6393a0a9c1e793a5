"""The name of a package says all that is in it: in this process and in the next one."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils._pytree import tree_flatten, tree_unflatten

import test_program_key as programs
from aleator.infer import Trace_ELBO, functional
from aleator.optim import SGD
from aleator_jit_estimators.capture import capture
from aleator_jit_estimators.package_name import package_name
from aleator_jit_estimators.reached import reach

CONTENTS_ONLY = {"tensor_replaced_in_place"}


def names(make):
    """Return the package's name before and after a number has changed."""
    program, change = make()
    svi = functional.SVI(program, programs.point_guide, Trace_ELBO(), SGD(lr=0.01))
    state, _ = svi.init(0)
    leaves, structure = tree_flatten((state.params, state.optim_state, state.buffers, ((), ())))
    found = []
    for action in (lambda: None, change):
        action()
        reached = reach(svi.loss, svi.optim, *svi.programs)
        recorded = capture(lambda *given: svi.step_function(*tree_unflatten(given, structure)), leaves, reached.tensors)
        found.append(package_name(recorded, reached.packages))
    return found


@pytest.fixture(scope="module")
def names_elsewhere():
    """The same names, found by another process."""
    code = (
        "import sys, json, torch, warnings; warnings.simplefilter('error');"
        f"sys.path.insert(0, {str(Path(__file__).parent)!r});"
        "import test_package_name as here;"
        "print(json.dumps({make.__name__: here.names(make) for make in here.programs.MAKERS}))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, timeout=300, capture_output=True, text=True)
    return json.loads(done.stdout)


@pytest.mark.parametrize("make", programs.MAKERS, ids=lambda make: make.__name__)
def test_name_follows_the_program_across_processes(make, names_elsewhere):
    """Catches a package that serves another number, and one that no later process finds."""
    before, after = names(make)
    assert (before == after) == (make.__name__ in CONTENTS_ONLY)
    assert [before, after] == names_elsewhere[make.__name__]


def test_name_holds_versions_threads_and_the_sources_that_take_part(monkeypatch):
    def plain():
        programs.site(1.0)

    svi = functional.SVI(plain, programs.point_guide, Trace_ELBO(), SGD(lr=0.01))
    state, _ = svi.init(0)
    leaves, structure = tree_flatten((state.params, state.optim_state, state.buffers, ((), ())))
    recorded = capture(lambda *given: svi.step_function(*tree_unflatten(given, structure)), leaves, ())
    found = [package_name(recorded, ["aleator"])]
    for where, what in (
        ("torch.__version__", "0.0"),
        ("platform.python_version", lambda: "0.0"),
        ("platform.machine", lambda: "abacus"),
        ("torch.get_num_threads", lambda: 77),
        ("torch.backends.cpu.get_cpu_capability", lambda: "FINGERS"),
        ("aleator_jit_estimators.package_name._own_sources", lambda: "other"),
        ("aleator_jit_estimators.package_name.version", lambda name: "0.0"),
    ):
        with monkeypatch.context() as context:
            context.setattr(where, what)
            found.append(package_name(recorded, ["aleator"]))
    assert len(set(found)) == len(found)
    assert torch.__version__ != "0.0"
