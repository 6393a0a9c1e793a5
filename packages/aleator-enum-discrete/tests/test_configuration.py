"""Marks for whole programs."""

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator import handlers
from aleator.infer import config_enumerate


def program():
    aleator.sample("a", dist.Bernoulli(0.5))
    aleator.sample("b", dist.Categorical(torch.ones(3)), infer={"enumerate": "sequential"})
    aleator.sample("c", dist.Normal(0.0, 1.0))
    aleator.sample("d", dist.Bernoulli(0.5), obs=torch.tensor(1.0))
    with aleator.plate("rows", 10, subsample_size=2):
        aleator.sample("e", dist.Binomial(2, 0.5), infer={"expand": True})


def marks(marked):
    trace = handlers.trace(marked).get_trace()
    return {name: trace.nodes[name].infer for name in "abcde"} | {"rows": trace.nodes["rows"].infer}


def test_latent_discrete_sites_are_marked():
    """SEMANTICS 36: not data, not minibatches, not what has a mark of its own."""
    found = marks(config_enumerate(program))
    assert found["a"] == {"enumerate": "parallel", "expand": False}
    assert found["b"] == {"enumerate": "sequential"}
    assert found["c"] == found["d"] == found["rows"] == {}
    assert found["e"] == {"expand": True, "enumerate": "parallel"}


def test_num_samples_marks_continuous_sites_too():
    """SEMANTICS 36."""
    found = marks(config_enumerate(num_samples=4)(program))
    assert found["c"] == {"enumerate": "parallel", "expand": False, "num_samples": 4}
    assert found["b"] == {"enumerate": "sequential"}
    assert found["d"] == {}


def test_decorator_with_and_without_arguments():
    @config_enumerate(default="sequential", expand=True)
    def marked():
        program()

    assert marks(marked)["a"] == {"enumerate": "sequential", "expand": True}
    assert marks(config_enumerate(program, default=None))["a"] == {}


@pytest.mark.parametrize(
    "options",
    [
        {"default": "flat"},
        {"default": "full"},
        {"expand": 1},
        {"num_samples": 0},
        {"num_samples": True},
        {"num_samples": 2, "default": "sequential"},
    ],
    ids=str,
)
def test_what_is_none_of_these(options):
    """SEMANTICS 36: the peer takes "flat" and an expand of any type, and fails later."""
    with pytest.raises(ValueError, match="config_enumerate: "):
        config_enumerate(program, **options)
