"""Programs for a fresh process: what an import loads, and what it changes. They print JSON."""

from __future__ import annotations

__all__ = ["IMPORT_PROBE", "MANIFEST_PROBE"]

MANIFEST_PROBE = """
import importlib, json, sys
sys.path[:] = json.loads(sys.argv[1])
import aleator.plugins
from aleator.plugins import hookimpl
package = sys.argv[2].partition(".")[0]
before = set(sys.modules)
importlib.import_module(sys.argv[2])
print(json.dumps({"loaded": sorted(set(sys.modules) - before)}))
"""

IMPORT_PROBE = """
import json, logging, os, random, sys, warnings
sys.path[:] = json.loads(sys.argv[1])
import torch, aleator, aleator.infer, aleator.handlers, aleator.distributions, aleator.optim
from aleator.runtime import STACK
from torch.distributions import kl, constraint_registry
import importlib

def state():
    return {
        "a torch attribute": {name: id(value) for name, value in vars(torch).items() if not name.startswith("_")},
        "a tensor method": {name: id(value) for name, value in vars(torch.Tensor).items()},
        "a torch distribution": {
            (cls.__name__, name): id(value)
            for cls in vars(torch.distributions).values() if isinstance(cls, type)
            for name, value in vars(cls).items() if not name.startswith("__")
        },
        "torch's KL registry": len(kl._KL_REGISTRY),
        "torch's constraint registry": len(constraint_registry.transform_to._registry),
        "torch's random state": torch.random.get_rng_state().tolist(),
        "Python's random state": random.getstate(),
        "the default dtype": str(torch.get_default_dtype()),
        "the root logger": (logging.getLogger().level, [id(each) for each in logging.getLogger().handlers]),
        "the warning filters": [str(each) for each in warnings.filters],
        "the stack of handlers": len(STACK.get()),
        "the environment": dict(os.environ),
        "the parameter store": sorted(aleator.get_param_store()),
        "the grad mode": torch.is_grad_enabled(),
        "the number of threads": torch.get_num_threads(),
    }

before = state()
importlib.import_module(sys.argv[2])
after = state()
# What importing a submodule of torch adds to it is no change of what was there.
changed = []
for name in before:
    if name in ("a torch attribute", "a torch distribution"):
        if any(after[name].get(key) != value for key, value in before[name].items()):
            changed.append(name)
    elif before[name] != after[name]:
        changed.append(name)
print(json.dumps({"changed": changed}))
"""
