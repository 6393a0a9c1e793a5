"""A step under every gradient rule is one graph, replayed bit for bit: nothing is read from the device."""

from __future__ import annotations

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx
from torch.utils._pytree import tree_leaves

import aleator
import aleator.distributions as dist
from aleator.distributions import constraints
from aleator.infer import pure_step
from aleator.optim import Adam
from aleator_svi_elbo import Trace_ELBO, TraceMeanField_ELBO


def model(data):
    a = aleator.sample("a", dist.Normal(0.0, 2.0))
    b = aleator.sample("b", dist.Normal(a, 1.0))
    with aleator.plate("data", data.shape[0]):
        aleator.sample("x", dist.Normal(b, 1.0), obs=data)


def guide_for(rule):
    wish = {} if rule is None else {"gradient": rule}

    def guide(data):
        loc = aleator.param("loc", torch.tensor(0.3))
        scale = aleator.param("scale", torch.tensor(1.2), constraint=constraints.positive)
        a = aleator.sample("a", dist.Normal(loc, scale), infer=dict(wish))
        aleator.sample("b", dist.Normal(a * scale, 1.0), infer=dict(wish))

    return guide


@pytest.mark.parametrize(
    ("options", "first_run"),
    [({}, False), ({}, True), ({"num_particles": 2, "vectorize_particles": True}, True)],
    ids=["at once", "after a run", "vectorized"],
)
@pytest.mark.parametrize("rule", [None, "stl", "score"])
@pytest.mark.parametrize("kind", [Trace_ELBO, TraceMeanField_ELBO])
def test_a_captured_step_replays_bit_for_bit(kind, rule, options, first_run):
    estimator, guide, adam = kind(**options), guide_for(rule), Adam(lr=0.05)
    with aleator.ParamStore() as store:
        Trace_ELBO().loss(model, guide, torch.zeros(3))
        if first_run:
            estimator.loss(model, guide, torch.zeros(3))
        params = {name: leaf.detach().clone() for name, leaf in store.named_parameters()}
        step = pure_step(estimator, adam, model, guide)
        state = adam.init(params)
        graph = make_fx(step)(params, state, {}, (torch.zeros(3),))
        data = torch.tensor([1.0, 2.5, -0.5])
        torch.manual_seed(1)
        expected = step(params, state, {}, (data,))
        torch.manual_seed(1)
        replayed = graph(params, state, {}, (data,))
    for one, other in zip(tree_leaves(expected), tree_leaves(replayed), strict=True):
        assert torch.equal(one, other)
    assert any(not torch.equal(expected[0][name], params[name]) for name in params)
