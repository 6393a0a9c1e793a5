"""What the first run of a program costs a process."""

import subprocess
import sys

import aleator
import aleator.distributions as dist
from aleator.infer import TraceEnum_ELBO, config_enumerate
from aleator_enum_discrete import dim_coloring

PROGRAM = """
import sys
import torch, warnings; warnings.simplefilter('error')
import aleator
import aleator.distributions as dist
from aleator.infer import TraceEnum_ELBO, config_enumerate
from aleator.ops import Vindex

@config_enumerate
def model():
    state = torch.tensor(0)
    for t in aleator.markov(range(3)):
        state = aleator.sample(f"z{t}", dist.Categorical(Vindex(torch.ones(2, 2))[state, :]))

TraceEnum_ELBO(max_plate_nesting=0).loss(model, lambda: None)
print("torch._dynamo" in sys.modules)
"""


def test_finding_out_what_depends_on_what_loads_no_compiler():
    run = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    assert run.stdout.split() == ["False"]


def test_dims_are_found_once_for_a_program(monkeypatch):
    found = []
    color = dim_coloring.color_programs
    monkeypatch.setattr(dim_coloring, "color_programs", lambda *args: found.append(args) or color(*args))

    @config_enumerate
    def model():
        values = [aleator.sample("z0", dist.Bernoulli(0.5))]
        for place in range(1, 30):
            values.append(aleator.sample(f"z{place}", dist.Bernoulli(0.2 + 0.3 * values[place // 2])))

    estimator = TraceEnum_ELBO(max_plate_nesting=0)
    for _ in range(3):
        estimator.loss(model, nothing)
    assert len(found) == 1


def nothing():
    """A guide for programs whose latent sites are all summed out."""
