"""Third contract program: a whole step as one graph over inputs only, replayed bit for bit, and built ahead of time."""

from __future__ import annotations

import shutil

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

import aleator
import aleator.distributions as dist
from aleator.distributions import constraints
from aleator.infer import Trace_ELBO, pure_step
from aleator.optim import Adam


def model(data):
    loc = aleator.sample("loc", dist.Normal(0.0, 5.0))
    rate = aleator.sample("rate", dist.Gamma(torch.ones(()), torch.ones(())))
    with aleator.plate("data", data.shape[0]):
        aleator.sample("x", dist.Normal(loc, rate), obs=data)


def guide(data):
    loc = aleator.param("loc_loc", torch.tensor(0.0))
    scale = aleator.param("loc_scale", torch.tensor(1.0), constraint=constraints.positive)
    shape = aleator.param("rate_shape", torch.tensor(2.0), constraint=constraints.positive)
    aleator.sample("loc", dist.Normal(loc, scale))
    aleator.sample("rate", dist.Gamma(shape, torch.ones(())))


@pytest.fixture
def inputs():
    """The step, and its state at the start: nothing of it comes from the program's closure."""
    store = aleator.ParamStore()
    adam = Adam(lr=0.05)
    with store:
        Trace_ELBO().loss(model, guide, torch.zeros(5))
        params = {name: leaf.detach().clone() for name, leaf in store.named_parameters()}
        yield pure_step(Trace_ELBO(), adam, model, guide), params, adam.init(params)


def flat(tree):
    return torch.utils._pytree.tree_leaves(tree)


def assert_bit_equal(left, right):
    left, right = flat(left), flat(right)
    assert len(left) == len(right)
    for one, other in zip(left, right, strict=True):
        assert torch.equal(one, other)


def test_graph_replays_bit_equal_on_other_inputs_and_at_another_step_count(inputs):
    """Catches a learning rate, step count, datum or draw that is baked into the graph."""
    step, params, state = inputs
    # [contract]
    graph = make_fx(step)(params, state, {}, (torch.zeros(5),))
    # [contract]
    constants = [node.target for node in graph.graph.nodes if node.op == "get_attr"]
    tensors = [name for name in constants if isinstance(getattr(graph, str(name)), torch.Tensor)]
    assert not [name for name in tensors if getattr(graph, str(name)).numel() > 1], "data in the graph"
    data = torch.tensor([1.0, 2.5, -0.5, 0.3, 1.7])
    eager = (params, state)
    for count in range(7):
        torch.manual_seed(count)
        expected = step(*eager, {}, (data,))
        torch.manual_seed(count)
        replayed = graph(*eager, {}, (data,))
        assert_bit_equal(expected, replayed)
        eager = expected[:2]
    assert float(next(iter(eager[1].slots.values()))["step"]) == 7


def test_params_move_and_loss_is_finite(inputs):
    step, params, state = inputs
    new_params, _, _, loss = step(params, state, {}, (torch.ones(5),))
    assert loss.isfinite()
    assert all(not torch.equal(new_params[name], params[name]) for name in params)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # torch's builder warns about deprecated parts of its own
@pytest.mark.skipif(shutil.which("g++") is None, reason="AOTInductor needs a C++ compiler to build a package")
def test_graph_builds_as_an_ahead_of_time_package(inputs, tmp_path):
    """The package's step agrees with the eager step under one seed, to rounding."""
    step, params, state = inputs
    names = sorted(params)
    tree = (params, state, {}, (torch.zeros(5),))
    leaves, spec = torch.utils._pytree.tree_flatten(tree)

    class Step(torch.nn.Module):
        def forward(self, *leaves):
            return tuple(flat(graph(*torch.utils._pytree.tree_unflatten(leaves, spec))))

    graph = make_fx(step)(*tree)
    exported = torch.export.export(Step(), tuple(leaves), strict=False)
    with torch._inductor.config.patch(fallback_random=True):
        path = torch._inductor.aoti_compile_and_package(exported, package_path=str(tmp_path / "step.pt2"))
    package = torch._inductor.aoti_load_package(path)
    data = torch.tensor([1.0, 2.5, -0.5, 0.3, 1.7])
    given, _ = torch.utils._pytree.tree_flatten((params, state, {}, (data,)))
    torch.manual_seed(3)
    expected = flat(step(params, state, {}, (data,)))
    torch.manual_seed(3)
    found = package(*given)
    assert len(names) == 3
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-5, atol=1e-5)
