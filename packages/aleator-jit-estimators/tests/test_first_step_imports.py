"""What a process imports on its way to the first compiled step: counted, since seconds differ between machines."""

from __future__ import annotations

import json
import subprocess
import sys

FIRST_STEP = """
import json, sys, torch, warnings
warnings.simplefilter("error")
before = set(sys.modules)
import aleator
import aleator.distributions as dist
from aleator.infer import Trace_ELBO, compile, functional
from aleator.optim import Adam

ERRORS = torch.tensor([[15.0], [10.0]])

def model(data):
    loc = aleator.sample("loc", dist.Normal(0.0, 5.0))
    scale = aleator.sample("scale", dist.HalfCauchy(5.0))
    with aleator.plate("columns", 3), aleator.plate("rows", 2):
        effect = aleator.sample("effect", dist.Normal(torch.zeros(3), 1.0))
        aleator.sample("x", dist.Normal(loc + scale * effect, ERRORS), obs=data)

def guide(data):
    mean = aleator.param("mean", torch.zeros(()))
    spread = aleator.param("spread", torch.ones(()), constraint=dist.constraints.positive)
    aleator.sample("loc", dist.Normal(mean, spread))
    aleator.sample("scale", dist.LogNormal(mean, spread))
    with aleator.plate("columns", 3), aleator.plate("rows", 2):
        aleator.sample("effect", dist.Normal(aleator.param("effects", torch.zeros(2, 1)), torch.ones(3)))

args = (torch.zeros(2, 3),)
svi = compile(functional.SVI(model, guide, Trace_ELBO(), Adam(lr=0.05)), backend="eager")
state, _ = svi.init(0, args, args)
svi.update(state, args, args)
print(json.dumps(sorted(set(sys.modules) - before)))
"""


def test_first_step_imports_aleator_pluggy_and_little_else():
    """Sympy alone, which ``torch.broadcast_shapes`` imports, would cost more than all of it."""
    done = subprocess.run([sys.executable, "-c", FIRST_STEP], check=True, timeout=120, capture_output=True, text=True)
    imported = json.loads(done.stdout)
    own = {"aleator", "aleator_svi_elbo", "aleator_jit_estimators", "pluggy"}
    others = {name for name in imported if name.partition(".")[0] not in own | sys.stdlib_module_names}
    manifests = {name for name in others if f"{name.partition('.')[0]}._plugin" in others and name.count(".") <= 1}
    assert others - manifests <= {"torch.utils._device"}
    assert len(imported) < 230
