"""Why a step runs uncompiled is said once, with the reason and the place; the eager result is returned."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator.errors import AleatorWarning
from aleator.infer import SVI, Trace_ELBO, compile, functional
from aleator.optim import Adam
from aleator_jit_estimators import compile_report

HERE = Path(__file__).name


def guide():
    aleator.sample("z", dist.Normal(aleator.param("at", torch.tensor(0.3)), 1.0))


def branching():
    z = aleator.sample("z", dist.Normal(0.0, 1.0))
    loc = 0.0 if z > 0 else 3.0  # the line that the reason names
    aleator.sample("x", dist.Normal(loc, 1.0), obs=torch.tensor(1.0))


def of_unknown_length():
    z = aleator.sample("z", dist.Normal(0.0, 1.0))
    kept = torch.tensor([1.0, -1.0, 2.0]) + z
    aleator.factor("x", kept[kept > 0].sum())


def with_torch_validation():
    aleator.sample("z", torch.distributions.Normal(torch.tensor(0.0), 1.0, validate_args=True))


def with_a_sorted_list():
    z = aleator.sample("z", dist.Normal(0.0, 1.0))
    aleator.factor("x", torch.tensor(sorted([z.tolist(), 0.0])).sum())


def with_a_message():
    z = aleator.sample("z", dist.Normal(0.0, 1.0))
    aleator.factor("x", z * len(f"{z}"))


def line(program, number):
    return rf"at or after site 'z', .*{HERE}:{program.__code__.co_firstlineno + number}"


REASONS = [
    (branching, rf"reads a value on the host .*{line(branching, 2)}"),
    (of_unknown_length, rf"shape of a result depends on values .*{line(of_unknown_length, 3)}"),
    (with_torch_validation, "reads a value on the host"),
    (with_a_sorted_list, rf"reads values on the host .*tolist.*{line(with_a_sorted_list, 2)}"),
    (with_a_message, rf"reads values on the host .*{line(with_a_message, 2)}"),
]


@pytest.mark.parametrize(("model", "reason"), REASONS, ids=lambda each: getattr(each, "__name__", ""))
def test_said_once_with_reason_and_place(model, reason):
    """Catches a program that silently stays slow, and one that gets another result."""
    svi = functional.SVI(model, guide, Trace_ELBO(), Adam(lr=0.05))
    compiled = compile(svi, backend="eager")
    state, _ = svi.init(0)
    with pytest.warns(AleatorWarning, match=reason) as caught:
        found = compiled.update(state)
    assert len(caught) == 1
    assert found[1] == svi.update(state)[1]
    compiled.update(found[0])
    (said,) = compile_report(compiled).eager
    assert "runs uncompiled, with the same results" in said


def test_the_stateful_run_goes_on_uncompiled():
    with aleator.ParamStore():
        svi = SVI(branching, guide, Adam(lr=0.05), Trace_ELBO(), rng=0, progress=False, compile="eager")
        losses = [svi.step()]
        with pytest.warns(AleatorWarning, match="at or after site 'z'"):
            losses.append(svi.step())
        losses += [svi.step() for _ in range(3)]
    with aleator.ParamStore():
        eager = SVI(branching, guide, Adam(lr=0.05), Trace_ELBO(), rng=0, progress=False)
        assert losses == [eager.step() for _ in range(5)]


WITHOUT_COMPILER = """
import sys, warnings
sys.path.insert(0, {tests!r})
import test_compiled_step as here
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    for backend in ("aot", "auto"):
        eager, compiled, state = here.pair(backend)
        for _ in range(3):
            found = compiled.update(state, (here.DATA,), (here.DATA,))
            here.assert_same(found, eager.update(state, (here.DATA,), (here.DATA,)), rtol=0, atol=0)
        state = found[0]
print(len(caught), all("no C++ compiler was found" in str(each.message) for each in caught))
"""


@pytest.mark.parametrize("variable", ["PATH", "CXX"])
def test_no_compiler(variable, tmp_path):
    """Catches a machine without a compiler on which training fails, or where each step says so."""
    empty = tmp_path / "empty"
    empty.mkdir()
    environment = {**os.environ, "ALEATOR_CACHE": str(tmp_path / "cache"), "PATH": str(empty)}
    if variable == "CXX":
        environment["CXX"] = str(empty / "no-such-compiler")
    environment.pop("ALEATOR_COMPILE_BACKEND", None)
    code = WITHOUT_COMPILER.format(tests=str(Path(__file__).parent))
    run = [sys.executable, "-c", code]
    done = subprocess.run(run, env=environment, check=True, timeout=120, capture_output=True, text=True)
    assert done.stdout.split() == ["2", "True"]


def test_a_compiler_that_fails_is_said_once(monkeypatch, tmp_path):
    """Catches a package that is half there, and a failing build that is tried again at each step."""
    import aleator_jit_estimators.making as making

    def fails(graph, inputs, path, form):
        Path(path).write_bytes(b"half")
        raise RuntimeError("ld: cannot find -lfoo\nand much more")

    monkeypatch.setenv("ALEATOR_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(making, "find_compiler", lambda: "a compiler")
    monkeypatch.setattr(making, "build_package", fails)
    svi = functional.SVI(lambda: aleator.sample("z", dist.Normal(0.0, 1.0)), guide, Trace_ELBO(), Adam(lr=0.05))
    compiled = compile(svi, backend="aot")
    state, _ = svi.init(0)
    with pytest.warns(AleatorWarning, match="RuntimeError: ld: cannot find -lfoo"):
        found = compiled.update(state)
    assert found[1] == svi.update(state)[1]
    compiled.update(state)
    assert list((tmp_path / "cache").iterdir()) == []
