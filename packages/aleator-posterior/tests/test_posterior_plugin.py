import importlib
import subprocess
import sys

import aleator_posterior
from aleator_posterior import _plugin


def test_the_manifest_names_what_the_package_has():
    assert _plugin.ALEATOR_PLUGIN_API == 1
    specs = {spec.name: spec for spec in _plugin.aleator_algorithms()}
    assert sorted(specs) == [
        "Draws",
        "EmpiricalMarginal",
        "Marginals",
        "Predictive",
        "TracePosterior",
        "TracePredictive",
    ]
    for name, spec in specs.items():
        module, attribute = spec.target.split(":")
        assert getattr(importlib.import_module(module), attribute) is getattr(aleator_posterior, name)


def test_importing_draws_nothing_and_warns_of_nothing():
    program = (
        "import torch, warnings; warnings.simplefilter('error'); state = torch.get_rng_state()\n"
        "validate = torch.distributions.Distribution._validate_args\n"
        "import aleator_posterior\n"
        "assert torch.equal(torch.get_rng_state(), state)\n"
        "assert torch.distributions.Distribution._validate_args is validate\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
