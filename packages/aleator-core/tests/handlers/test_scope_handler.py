"""`scope`: one program twice in another. The core alone has it."""

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator import handlers
from aleator.errors import SupportError


def part():
    scale = aleator.param("scale", torch.tensor(1.0))
    with aleator.plate("data", 4, subsample_size=2):
        return aleator.sample("x", dist.Normal(0.0, scale))


def whole():
    handlers.scope(part, prefix="left")()
    with handlers.scope(prefix="outer"), handlers.scope(prefix="inner"):
        part()


def test_draws_parameters_and_plates_have_the_prefix():
    trace = handlers.trace(whole).get_trace()
    names = [name for name in trace.nodes if not name.startswith("_")]
    assert names == [
        "left/scale", "left/data", "left/x", "outer/inner/scale", "outer/inner/data", "outer/inner/x"
    ]  # fmt: skip  # two rows of three would be less clear
    assert trace.nodes["outer/inner/x"].frames[0].name == "outer/inner/data"
    assert set(aleator.get_param_store().keys()) == {"left/scale", "outer/inner/scale"}


def test_shared_parameters():
    with handlers.scope(prefix="a", hide_types=["param"]):
        part()
    assert set(aleator.get_param_store().keys()) == {"scale"}


def test_another_divider():
    with handlers.trace() as trace, handlers.scope(prefix="a", divider="."):
        aleator.sample("x", dist.Normal(0.0, 1.0))
    assert trace.stochastic_nodes == ["a.x"]


def test_a_plate_inside_a_plate_of_its_name_in_another_scope():
    def model():
        with aleator.plate("data", 3), handlers.scope(prefix="inner"):
            return part()

    assert handlers.trace(model).get_trace().nodes["_RETURN"].value.shape == (2, 3)


def test_loops_too():
    def model():
        for i in aleator.plate("data", 2):
            aleator.sample(f"x_{i}", dist.Normal(0.0, 1.0))

    trace = handlers.trace(handlers.scope(model, prefix="a")).get_trace()
    assert trace.nodes["a/x_1"].frames[0].name == "a/data"


def test_partly_observed_sites_and_replay():
    def model():
        return aleator.sample(
            "x", dist.Normal(0.0, 1.0).expand([2]), obs=torch.zeros(2), obs_mask=torch.tensor([True, False])
        )

    scoped = handlers.scope(model, prefix="a")
    trace = handlers.trace(scoped).get_trace()
    assert [name for name in trace.nodes if not name.startswith("_")] == ["a/x_observed", "a/x_unobserved", "a/x"]
    assert torch.equal(handlers.replay(scoped, trace=trace)(), trace.nodes["a/x"].value)


def test_modules_in_two_scopes_share_nothing():
    """Neither parameters nor buffers, though both are called "net"."""
    nets = {name: torch.nn.BatchNorm1d(2) for name in ("a", "b")}

    def model():
        for name, net in nets.items():
            with handlers.scope(prefix=name):
                aleator.module("net", net)(torch.full((4, 2), 3.0 if name == "a" else 7.0))

    handlers.trace(model).get_trace()
    handlers.trace(model).get_trace()
    buffers = aleator.get_param_store().buffers
    for name, net in nets.items():
        assert buffers[f"{name}/net$$$running_mean"] is net.running_mean
        assert f"{name}/net$$$weight" in aleator.get_param_store()
    assert not torch.equal(nets["a"].running_mean, nets["b"].running_mean)


def test_errors_name_the_scoped_site():
    """DESIGN 3: named site, also where the check is read at the end of the run."""
    with pytest.raises(SupportError, match="site 'a/x'"), handlers.scope(prefix="a"):
        aleator.sample("x", dist.Gamma(1.0, 1.0), obs=torch.tensor(-1.0))
    with pytest.raises(ValueError, match="site 'a/y'"), handlers.scope(prefix="a"):
        aleator.sample("y", dist.Normal(0.0, torch.tensor(-1.0)))


def test_a_prefix_is_text():
    with pytest.raises(TypeError, match="scope expects a prefix of type str, but found int"):
        handlers.scope(part, prefix=3)
    with pytest.raises(TypeError, match="scope needs prefix="):
        handlers.scope(part)
