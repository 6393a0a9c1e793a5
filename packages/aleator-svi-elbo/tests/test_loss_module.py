"""An estimator called on a model and a guide: a torch module that torch's own tools can train."""

from __future__ import annotations

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator.distributions import constraints
from aleator_svi_elbo import LossModule, Trace_ELBO


def model(data):
    z = aleator.sample("z", dist.Normal(0.0, 1.0))
    with aleator.plate("data", len(data)):
        aleator.sample("x", dist.Normal(z, 1.0), obs=data)


def guide(data):
    loc = aleator.param("q.loc", torch.tensor(5.0))
    scale = aleator.param("q.scale", torch.tensor(1.0), constraint=constraints.positive)
    aleator.sample("z", dist.Normal(loc, scale))


DATA = torch.tensor([1.0, 2.0, 3.0])


def test_with_examples_the_parameters_are_there_at_once():
    with aleator.ParamStore() as store:
        before = torch.get_rng_state()
        module = Trace_ELBO()(model, guide, DATA)
        assert torch.equal(before, torch.get_rng_state())
        assert isinstance(module, torch.nn.Module)
        assert isinstance(module, LossModule)
        named = dict(module.named_parameters())
        assert set(named) == {"q/loc", "q/scale"}
        assert all(isinstance(parameter, torch.nn.Parameter) for parameter in named.values())
        assert named["q/loc"] is store.unconstrained("q.loc")


def test_without_examples_they_come_at_the_first_forward():
    with aleator.ParamStore() as store:
        module = Trace_ELBO()(model, guide)
        assert list(module.parameters()) == []
        module(DATA).backward()
        named = dict(module.named_parameters())
        assert set(named) == {"q/loc", "q/scale"}
        assert named["q/loc"].grad is not None
        assert named["q/loc"] is store.unconstrained("q.loc")
        first = set(map(id, module.parameters()))
        module(DATA)
        assert set(map(id, module.parameters())) == first


@pytest.mark.parametrize("examples", [(DATA,), ()], ids=["examples", "none"])
def test_forward_is_the_differentiable_loss(examples):
    with aleator.ParamStore():
        module = Trace_ELBO(num_particles=2)(model, guide, *examples)
        module(DATA)
        with aleator.rng(1):
            value = module(DATA)
        with aleator.rng(1):
            expected = Trace_ELBO(num_particles=2).differentiable_loss(model, guide, DATA)
        assert value.requires_grad
        assert torch.equal(value, expected)


def test_a_torch_optimizer_trains_it():
    """The exact posterior is Normal(1.5, 0.5); the loc starts at 5."""
    with aleator.ParamStore() as store, aleator.rng(0):
        module = Trace_ELBO(num_particles=4, vectorize_particles=True)(model, guide, DATA)
        optimizer = torch.optim.Adam(module.parameters(), lr=0.05)
        for _ in range(300):
            optimizer.zero_grad()
            module(DATA).backward()
            optimizer.step()
        assert abs(float(store["q.loc"].detach()) - 1.5) < 0.15
        assert abs(float(store["q.scale"].detach()) - 0.5) < 0.15


def test_its_state_dict_goes_round():
    with aleator.ParamStore():
        module = Trace_ELBO()(model, guide, DATA)
        state = {name: value.clone() for name, value in module.state_dict().items()}
    with aleator.ParamStore() as store:
        module = Trace_ELBO()(model, guide, DATA)
        module.load_state_dict({name: value + 1.0 for name, value in state.items()})
        assert float(store["q.loc"].detach()) == 6.0


def test_modules_inside_keep_their_own_parameters():
    net = torch.nn.Sequential(torch.nn.Linear(1, 1))

    def net_guide(data):
        aleator.module("net", net)
        aleator.sample("z", dist.Normal(net(torch.ones(1)).squeeze(), 1.0))

    with aleator.ParamStore():
        module = Trace_ELBO()(model, net_guide, DATA)
        named = dict(module.named_parameters())
        assert set(named) == {"net$$$0/weight", "net$$$0/bias"}
        assert named["net$$$0/weight"] is net[0].weight
