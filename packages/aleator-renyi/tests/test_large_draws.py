"""Large draws are scored without the paths that cancel: the same gradients as with them, under every rule."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor

import aleator
import aleator.distributions as dist
from aleator import handlers
from aleator.handlers import Messenger
from aleator_renyi import IWAE, RenyiELBO
from aleator_svi_elbo import ELBO, Trace_ELBO, draw_densities

ROWS = 5
DATA = torch.linspace(-1.0, 2.0, ROWS, dtype=torch.float64)


@pytest.fixture(autouse=True)
def in_double() -> Any:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


def model(rule: str | None = None) -> None:
    with aleator.plate("rows", ROWS):
        first = aleator.sample("first", dist.Normal(torch.zeros(3), 1.0).to_event(1))
        second = aleator.sample("second", dist.Normal(first.sum(-1), 0.7))
        aleator.sample("data", dist.Normal(first.prod(-1) + second.sin(), 0.5), obs=DATA)


def guide(rule: str | None = None) -> None:
    """Two draws of which the second follows the first, through its mean and its scale."""
    infer = {} if rule is None else {"gradient": rule}
    loc = aleator.param("loc", torch.tensor([0.1, -0.3, 0.4]))
    log_scale = aleator.param("log_scale", torch.tensor([-0.2, 0.3, 0.1]))
    slope = aleator.param("slope", torch.tensor(0.6))
    with aleator.plate("rows", ROWS):
        first = aleator.sample("first", dist.Normal(loc, log_scale.exp()).to_event(1), infer=infer)
        aleator.sample("second", dist.Normal(slope * first[..., 0], (slope * first[..., 1]).exp()), infer=infer)


class Given(Messenger):
    """Gives the guide's first draw a value with a graph of its own, which is no draw from its distribution."""

    def process_sample(self, site: Any) -> None:
        """Set the value where none is known."""
        if site.name == "first" and site.value is None:
            site.value = aleator.param("loc") * torch.linspace(0.5, 2.0, ROWS)[:, None]
            site.done = True


ESTIMATORS: list[tuple[ELBO, str | None]] = [
    (Trace_ELBO(num_particles=3, vectorize_particles=True, max_plate_nesting=1), None),
    (Trace_ELBO(num_particles=2), "stl"),
    (IWAE(num_particles=4, vectorize_particles=True, max_plate_nesting=1), None),
    (IWAE(num_particles=3), None),
    (IWAE(num_particles=4, vectorize_particles=True, max_plate_nesting=1), "stl"),
    (IWAE(num_particles=4, vectorize_particles=True, max_plate_nesting=1), "dreg"),
    (IWAE(num_particles=4), "score"),
    (RenyiELBO(alpha=0.5, num_particles=3), None),
]


def gradients(estimator: ELBO, around: Any, rule: str | None, guide: Any = guide) -> tuple[Tensor, dict[str, Tensor]]:
    aleator.set_rng_seed(3)
    with aleator.ParamStore() as store, around:
        loss = estimator.loss_and_grads(model, guide, rule)
        return torch.as_tensor(loss), {name: leaf.grad for name, leaf in store.named_parameters()}


@pytest.mark.parametrize(("estimator", "rule"), ESTIMATORS, ids=repr)
@pytest.mark.parametrize(
    "around",
    [
        handlers.scale(scale=2.0),
        handlers.mask(mask=torch.tensor([True, False, True, True, False])),
        Given(),
    ],
    ids=["scale", "mask", "a given draw"],
)
def test_the_gradient_is_that_of_the_whole_density(
    estimator: ELBO, rule: str | None, around: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    taken = []
    original = draw_densities.log_prob_of_draw
    monkeypatch.setattr(draw_densities, "log_prob_of_draw", lambda fn, value: taken.append(fn) or original(fn, value))
    monkeypatch.setattr(draw_densities, "MOST_ELEMENTS", 10**9)
    plain = gradients(estimator, around, rule)
    assert not taken
    monkeypatch.setattr(draw_densities, "MOST_ELEMENTS", 0)
    found = gradients(estimator, around, rule)
    assert bool(taken) == (rule != "score")
    torch.testing.assert_close(found[0], plain[0], rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(found[1], plain[1], rtol=1e-10, atol=1e-10)


def test_other_estimators_may_differentiate_with_respect_to_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    """An ELBO of somebody's own does not ask for it."""
    monkeypatch.setattr(draw_densities, "MOST_ELEMENTS", 0)
    found = []

    class Slopes(ELBO):
        capabilities = Trace_ELBO.capabilities

        def particle_terms(self, model_trace: Any, guide_trace: Any) -> Any:
            terms = super().particle_terms(model_trace, guide_trace)
            value = guide_trace.nodes["second"].value
            found.append(torch.autograd.grad(terms.log_weight.sum(), value, retain_graph=True)[0])
            fn = guide_trace.nodes["second"].fn
            assert torch.autograd.grad(fn.log_prob(value).sum(), value)[0].abs().sum() > 0
            return terms

    gradients(Slopes(), handlers.scale(scale=1.0), None)
    first = found[0]
    monkeypatch.setattr(draw_densities, "MOST_ELEMENTS", 10**9)
    gradients(Slopes(), handlers.scale(scale=1.0), None)
    torch.testing.assert_close(first, found[1])
