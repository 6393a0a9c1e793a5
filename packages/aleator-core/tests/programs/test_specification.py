"""The specification trains, and agrees with the core on a whole program."""

import importlib.util
import os
import sys
from pathlib import Path

import pytest
import torch
from torch.distributions import Bernoulli, Gamma, Normal, constraints

import aleator
from aleator import handlers

MINIMAL = Path(
    os.environ.get("ALEATOR_MINIMAL", Path(__file__).resolve().parents[4] / "docs" / "design" / "minimal.py")
)


@pytest.fixture
def minimal():
    if not MINIMAL.exists():
        pytest.skip("docs/design/minimal.py is not here: set ALEATOR_MINIMAL to its path")
    spec = importlib.util.spec_from_file_location("aleator_minimal_whole", MINIMAL)
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    state = torch.get_rng_state()
    torch.manual_seed(0)
    yield module
    torch.set_rng_state(state)


def test_it_has_at_most_400_lines():
    """DESIGN 3."""
    if not MINIMAL.exists():
        pytest.skip("docs/design/minimal.py is not here")
    assert len(MINIMAL.read_text(encoding="utf-8").splitlines()) <= 400


def program(word):
    def model(data):
        rate = word.sample("rate", Gamma(2.0, 1.0))
        kind = word.sample("kind", Bernoulli(0.3))
        with word.plate("data", len(data), subsample_size=3) as i:
            z = word.sample("z", Normal(kind, rate))
            word.sample("x", Normal(z, 1.0), obs=data[i])
        word.deterministic("twice", 2 * rate)
        for k in word.plate("loop", 2):
            word.sample(f"y_{k}", Normal(rate, 1.0), obs=torch.tensor(float(k)))

    return model


def test_both_languages_give_one_density(minimal):
    data = torch.linspace(0.0, 1.0, 7)
    torch.manual_seed(3)
    own = minimal.trace(program(minimal)).get_trace(data)
    torch.manual_seed(3)
    with aleator.rng(None):
        cores = handlers.trace(program(aleator)).get_trace(data)
    assert list(own.nodes) == list(cores.nodes)
    for name in ("rate", "kind", "data", "z", "x", "twice"):
        assert torch.equal(own.nodes[name].value, cores.nodes[name].value)
    torch.testing.assert_close(own.log_prob_sum(), cores.log_prob_sum())


def test_it_trains_the_weighing_example(minimal):
    """The unreliable scale: posterior Normal(9.14, 0.6). Would catch a wrong sign, a lost entropy or constraint."""

    def model(measured):
        weight = minimal.sample("weight", Normal(8.5, 1.0))
        minimal.sample("measurement", Normal(weight, 0.75), obs=measured)

    def guide(measured):
        a = minimal.param("a", torch.tensor(8.5))
        b = minimal.param("b", lambda: torch.tensor(1.0), constraints.positive)
        minimal.sample("weight", Normal(a, b))

    svi = minimal.SVI(model, guide, lambda leaves: torch.optim.Adam(leaves, lr=0.02))
    values = []
    for step in range(700):
        svi.step(torch.tensor(9.5))
        if step >= 300:
            values.append([minimal.param("a").item(), minimal.param("b").item()])
    a, b = torch.tensor(values).mean(0)
    assert abs(a - 9.14) < 0.05
    assert abs(b - 0.6) < 0.05


def test_its_score_function_gradient_is_unbiased(minimal):
    """One coin: the mean gradient against the closed form. Would catch a missing or doubled score term."""
    p, q = 0.3, torch.tensor(0.6, requires_grad=True)

    def model():
        minimal.sample("z", Bernoulli(p))

    def guide():
        minimal.sample("z", Bernoulli(q))

    exact = torch.autograd.grad(-(q * (q / p).log() + (1 - q) * ((1 - q) / (1 - p)).log()), q)[0]
    count = 1200
    grads = torch.stack([torch.autograd.grad(minimal.elbo(model, guide)[1], q)[0] for _ in range(count)])
    assert abs(grads.mean() - exact) < 4 * grads.std() / count**0.5


def test_parameters_that_appear_later_join(minimal):
    step = 0

    def guide():
        a = minimal.param("a", torch.tensor(0.0))
        b = minimal.param("b", torch.tensor(0.0)) if step else 0.0
        minimal.sample("z", Normal(a + b, 1.0))

    def model():
        minimal.sample("z", Normal(3.0, 1.0))

    svi = minimal.SVI(model, guide, lambda leaves: torch.optim.SGD(leaves, lr=0.1))
    svi.step()
    assert set(minimal.PARAMS) == set(svi.optimizers) == {"a"}
    step = 1
    svi.step()
    assert set(svi.optimizers) == {"a", "b"}
    assert minimal.PARAMS["b"][0] > 0
