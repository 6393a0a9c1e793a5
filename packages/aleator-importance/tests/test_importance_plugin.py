import importlib
import subprocess
import sys

import aleator_importance
from aleator import infer
from aleator_importance import _plugin


def test_the_manifest_names_what_the_package_has():
    assert _plugin.ALEATOR_PLUGIN_API == 1
    (spec,) = _plugin.aleator_algorithms()
    module, attribute = spec.target.split(":")
    assert getattr(importlib.import_module(module), attribute) is aleator_importance.Importance
    assert infer.Importance is aleator_importance.Importance


def test_every_public_name_is_there():
    for name in aleator_importance.__all__:
        assert getattr(aleator_importance, name) is not None
    assert set(aleator_importance.__all__) <= set(dir(aleator_importance))


def test_importing_draws_nothing_and_warns_of_nothing():
    program = (
        "import torch, warnings; warnings.simplefilter('error'); state = torch.get_rng_state()\n"
        "import aleator_importance; aleator_importance.Importance; aleator_importance.resample\n"
        "assert torch.equal(torch.get_rng_state(), state)\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
