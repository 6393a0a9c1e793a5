"""`infer_config`: options from outside. The core alone has it."""

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator import handlers
from aleator.errors import AleatorWarning


def guide():
    aleator.param("a", torch.tensor(1.0))
    aleator.sample("x", dist.Normal(0.0, 1.0), infer={"obs": 1, "was_observed": False})
    aleator.sample("y", dist.Normal(0.0, 1.0))


def test_options_join_the_sites_own_and_win():
    """SEMANTICS 75."""
    configured = handlers.infer_config(guide, config_fn=lambda site: {"obs": site.name} if site.name != "y" else None)
    nodes = handlers.trace(configured).get_trace().nodes
    assert nodes["x"].infer == {"obs": "x", "was_observed": False}
    assert nodes["a"].infer == {"obs": "a"}
    assert nodes["y"].infer == {}


def test_the_users_own_mapping_is_left_alone():
    own = {"is_auxiliary": True}

    def program():
        aleator.sample("x", dist.Normal(0.0, 1.0), infer=own)

    handlers.infer_config(program, config_fn=lambda site: {"obs": 1})()
    assert own == {"is_auxiliary": True}


def test_a_misspelt_option_warns():
    """DESIGN 3: a key that no installed plugin declares."""
    configured = handlers.infer_config(guide, config_fn=lambda site: {"is_auxilary_": True})
    with pytest.warns(AleatorWarning, match="infer key 'is_auxilary_'.*did you mean 'is_auxiliary'"):
        configured()


def test_a_function_is_needed():
    with pytest.raises(TypeError, match="infer_config needs config_fn="):
        handlers.infer_config(guide)
    with pytest.raises(TypeError, match="infer_config expects a function of a site, but found dict"):
        handlers.infer_config(guide, config_fn={"x": {}})
