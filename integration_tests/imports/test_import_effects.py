"""Rule 9 of the house: importing any package changes nothing outside it."""

from __future__ import annotations

import json
import subprocess
import sys
from importlib import metadata

import pytest

# Everything in torch is imported before the first look where our packages may ask for it: what torch's own lazily
# imported submodules register is torch's doing.
EFFECTS = """
import hashlib, importlib, json, logging, os, pkgutil, random, signal, sys, threading, warnings
import torch, torch.distributions, torch.optim, torch.func, torch.nn, torch.utils._pytree
from torch.distributions import kl, constraint_registry

def names_of(value):
    return sorted((name, id(each)) for name, each in vars(value).items() if name not in IGNORED)

# Python and torch fill these in as modules are imported and classes are derived, whoever does it.
IGNORED = {"__warningregistry__", "__abstractmethods__", "_abc_impl", "__weakref__", "__annotations__"}

def look():
    seen = {
        "torch": [name for name in names_of(torch) if f"torch.{name[0]}" not in sys.modules],
        "torch.Tensor": names_of(torch.Tensor),
        "torch.nn.Module": names_of(torch.nn.Module),
        "torch.distributions": [
            name for name in names_of(torch.distributions) if f"torch.distributions.{name[0]}" not in sys.modules
        ],
        "torch's default dtype": str(torch.get_default_dtype()),
        "torch's default device": str(torch.get_default_device()),
        "torch's grad mode": torch.is_grad_enabled(),
        "torch's threads": [torch.get_num_threads(), torch.get_num_interop_threads()],
        "torch's determinism": torch.are_deterministic_algorithms_enabled(),
        "torch's print options": repr(vars(torch._tensor_str.PRINT_OPTS)),
        "torch's random state": hashlib.sha256(bytes(torch.get_rng_state().tolist())).hexdigest(),
        "Python's random state": hash(random.getstate()),
        "the KL registry": sorted(f"{p} {q}" for p, q in kl._KL_REGISTRY),
        "the biject_to registry": sorted(map(str, constraint_registry.biject_to._registry)),
        "the transform_to registry": sorted(map(str, constraint_registry.transform_to._registry)),
        "distributions' validation": torch.distributions.Distribution._validate_args,
        "logging": [logging.root.level, len(logging.root.handlers), logging.root.manager.disable],
        "loggers with handlers": sorted(
            name
            for name, logger in logging.Logger.manager.loggerDict.items()
            if name.startswith("aleator") and getattr(logger, "handlers", None)
        ),
        "warning filters": [str(each) for each in warnings.filters],
        "showwarning": id(warnings.showwarning),
        "excepthook": [id(sys.excepthook), id(sys.displayhook)],
        "the import system": [list(map(repr, sys.meta_path)), list(map(repr, sys.path_hooks)), sys.path],
        "threads": threading.active_count(),
        "SIGINT": repr(signal.getsignal(signal.SIGINT)),
        "the environment": dict(os.environ),
        "the folder": os.getcwd(),
    }
    for name in sorted(kl_classes()):
        seen[f"torch.distributions.{name}"] = names_of(getattr(torch.distributions, name))
    return json.loads(json.dumps(seen))

def kl_classes():
    return {name for name in torch.distributions.__all__ if isinstance(getattr(torch.distributions, name), type)}

before = look()
package = importlib.import_module(sys.argv[1])
for each in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
    if not each.name.endswith("__main__"):
        importlib.import_module(each.name)
after = look()
print(json.dumps({key: [before[key], after[key]] for key in before if before[key] != after[key]}))
"""

PACKAGES = sorted(
    {
        file.parts[0]
        for each in metadata.distributions()
        if each.metadata["Name"].startswith("aleator")
        for file in each.files or ()
        if file.name == "__init__.py" and len(file.parts) == 2
    }
)


def changes_by(package: str, *prelude: str) -> dict:
    command = [sys.executable, "-c", "\n".join([*prelude, EFFECTS]), package]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def test_the_packages_are_found():
    assert "aleator" in PACKAGES


@pytest.mark.parametrize("package", PACKAGES)
def test_importing_a_package_and_all_its_modules_changes_nothing_outside(package):
    assert changes_by(package) == {}


@pytest.mark.parametrize(
    ("effect", "seen"),
    [
        ("import torch; torch.rand(())", "torch's random state"),
        ("import torch; torch.set_default_dtype(torch.float64)", "torch's default dtype"),
        ("import torch; torch.Tensor.weigh = None", "torch.Tensor"),
        ("import torch; torch.distributions.Normal.mask = None", "torch.distributions.Normal"),
        ("import warnings; warnings.simplefilter('ignore')", "warning filters"),
        ("import logging; logging.basicConfig()", "logging"),
        ("import torch.distributions as d; d.register_kl(d.Normal, d.Cauchy)(print)", "the KL registry"),
        ("import torch.distributions as d; d.biject_to.register(type('C', (d.constraints.Constraint,), {}))(print)",
         "the biject_to registry"),
    ],
)  # fmt: skip  # one case a line
def test_an_effect_would_be_seen(tmp_path, effect, seen):
    (tmp_path / "rude").mkdir()
    (tmp_path / "rude" / "__init__.py").write_text(effect + "\n", encoding="utf-8")
    changes = changes_by("rude", "import sys", f"sys.path.insert(0, {str(tmp_path)!r})")
    assert seen in changes
