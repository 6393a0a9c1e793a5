"""What the first run of a program costs a process."""

import subprocess
import sys

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
