"""A step as a pure function of its state."""

from __future__ import annotations

import math

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

import aleator
import aleator.distributions as dist
from aleator.distributions import constraints
from aleator.errors import ParameterError
from aleator.infer import AbstractEstimator, Capabilities, Estimate, pure_step
from aleator.infer.step import differentiate
from aleator.optim import SGD, Adam


def model(data):
    z = aleator.sample("z", dist.Normal(0.0, 1.0))
    aleator.sample("x", dist.Normal(z, 1.0), obs=data)


def guide(data):
    loc = aleator.param("loc", torch.tensor(0.5))
    scale = aleator.param("scale", torch.tensor(1.0), constraint=constraints.positive)
    aleator.sample("z", dist.Normal(loc, scale))


START = {"loc": torch.tensor(0.5), "scale": torch.tensor(0.2)}
DATA = torch.tensor(2.0)


def test_step_equals_the_gradient_by_hand(one_sample, store):
    """Catches a step on the constrained value, a gradient of the wrong sign, a draw that is not the context's."""
    step = pure_step(one_sample, SGD(lr=0.1), model, guide)
    sgd = SGD(lr=0.1)
    aleator.set_rng_seed(5)
    new, _, _, loss = step(START, sgd.init(START), {}, (DATA,))
    aleator.set_rng_seed(5)
    noise = torch.randn(())
    loc, log_scale = START["loc"], START["scale"]
    z = loc + log_scale.exp() * noise
    # d/dz of -log p(z) - log p(x|z), along z; minus the entropy's d/d log_scale = 1.
    slope = z + (z - DATA)
    torch.testing.assert_close(new["loc"], loc - 0.1 * slope)
    torch.testing.assert_close(new["scale"], log_scale - 0.1 * (slope * noise * log_scale.exp() - 1.0))
    log_q = -0.5 * noise**2 - log_scale - 0.5 * math.log(2 * math.pi)
    log_p = -0.5 * z**2 - 0.5 * (DATA - z) ** 2 - math.log(2 * math.pi)
    torch.testing.assert_close(loss, log_q - log_p)
    assert len(store) == 0, "nothing is written to the store"


def test_inputs_are_not_changed(one_sample):
    adam = Adam(lr=0.1)
    state = adam.init(START)
    before = {name: value.clone() for name, value in START.items()}
    pure_step(one_sample, adam, model, guide)(START, state, {}, (DATA,))
    assert all(torch.equal(START[name], before[name]) for name in START)
    assert all(float(slots["step"]) == 0.0 for slots in state.slots.values())


def test_unbound_parameter_is_named(one_sample):
    step = pure_step(one_sample, Adam(lr=0.1), model, guide)
    with pytest.raises(ParameterError, match="'scale' is not among"):
        step({"loc": torch.tensor(0.0)}, Adam(lr=0.1).init({"loc": torch.tensor(0.0)}), {}, (DATA,))


def test_parameter_that_the_programs_do_not_read_stays(one_sample):
    adam = Adam(lr=0.1)
    params = {**START, "other": torch.tensor(3.0)}
    new, state, _, _ = pure_step(one_sample, adam, model, guide)(params, adam.init(params), {}, (DATA,))
    assert new["other"] == 3.0
    assert float(state.slots["other"]["step"]) == 0.0


def test_updates_become_buffers(store):
    class Counting(AbstractEstimator):
        capabilities = Capabilities()

        def estimate(self, model, guide, /, *args, **kwargs):
            old = aleator.get_param_store().buffers["count"]
            p = aleator.param("p", torch.tensor(1.0))
            return Estimate(p.detach(), p, updates={"count": old + 1})

    adam = Adam(lr=0.1)
    params = {"p": torch.tensor(1.0)}
    state, buffers = adam.init(params), {"count": torch.tensor(0.0), "kept": torch.tensor(9.0)}
    step = pure_step(Counting(), adam, None, None)
    for _ in range(3):
        params, state, buffers, _ = step(params, state, buffers, ())
    assert buffers == {"count": torch.tensor(3.0), "kept": torch.tensor(9.0)}
    assert len(store) == 0


def test_optimizer_without_pure_form_is_refused_by_name(one_sample):
    with pytest.raises(ValueError, match="LBFGS has no pure form"):
        pure_step(one_sample, torch.optim.LBFGS, model, guide)


def test_capture_replays_bit_equal(one_sample):
    adam = Adam(lr=0.1)
    step = pure_step(one_sample, adam, model, guide)
    graph = make_fx(step)(START, adam.init(START), {}, (DATA,))
    params, state = START, adam.init(START)
    for count in range(3):
        args = (params, state, {}, (torch.tensor(float(count)),))
        torch.manual_seed(count)
        eager = step(*args)
        torch.manual_seed(count)
        replayed = graph(*args)
        leaves = [torch.utils._pytree.tree_leaves(result) for result in (eager, replayed)]
        assert all(torch.equal(one, other) for one, other in zip(*leaves, strict=True))
        params, state = eager[:2]


def test_a_steps_parameters_are_those_whose_message_arrives(one_sample, store):
    """SEMANTICS 10: a parameter that a handler hides takes no part."""
    hidden = aleator.handlers.block(guide, hide=["scale"])
    result = differentiate(one_sample, model, hidden, (DATA,), {})
    assert set(result.leaves) == {"loc"} == set(result.grads)
    assert store.unconstrained("loc").grad is None
