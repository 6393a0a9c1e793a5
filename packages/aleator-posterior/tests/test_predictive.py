import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator import handlers
from aleator.errors import UnsupportedModelError
from aleator_posterior import Draws, DrawsBuilder, Predictive

SAMPLES = {"z": torch.linspace(-2.0, 2.0, 6), "w": torch.arange(24.0).reshape(6, 4)}


def model(x=None):
    z = aleator.sample("z", dist.Normal(0.0, 1.0))
    with aleator.plate("data", 4):
        w = aleator.sample("w", dist.Normal(z, 1.0))
        aleator.deterministic("sum", w + z, event_dim=0)
        aleator.sample("x", dist.Normal(w, 1e-3), obs=x)
        aleator.sample("y", dist.MultivariateNormal(torch.zeros(2), torch.eye(2)))
    aleator.deterministic("pair", torch.stack([z, -z], -1), event_dim=1)
    return z + 1


def guide(x=None):
    z = aleator.sample("z", dist.Normal(3.0, 0.01))
    with aleator.plate("data", 4):
        aleator.sample("w", dist.Normal(z + torch.arange(4.0), 0.01))
        aleator.sample("y", dist.MultivariateNormal(torch.zeros(2), torch.eye(2)))


@pytest.mark.parametrize("parallel", [False, True])
def test_given_samples_give_what_follows_from_them(parallel):
    predicted = Predictive(model, SAMPLES, parallel=parallel, rng=0)()
    assert {name: tuple(value.shape) for name, value in predicted.items()} == {
        "sum": (6, 4),
        "x": (6, 4),
        "y": (6, 4, 2),
        "pair": (6, 2),
    }
    assert torch.equal(predicted["sum"], SAMPLES["w"] + SAMPLES["z"][:, None])
    assert torch.equal(predicted["pair"], torch.stack([SAMPLES["z"], -SAMPLES["z"]], -1))
    torch.testing.assert_close(predicted["x"], SAMPLES["w"], rtol=0, atol=1e-2)
    assert len(predicted["y"].unique()) == 48


@pytest.mark.parametrize("parallel", [False, True])
def test_which_sites_come_back(parallel):
    named = Predictive(model, SAMPLES, return_sites=["x", "_RETURN", "z"], parallel=parallel, rng=0)
    found = named(x=torch.ones(4))
    assert list(found) == ["x", "_RETURN", "z"]
    assert torch.equal(found["_RETURN"], SAMPLES["z"] + 1)
    assert torch.equal(found["x"], torch.ones(6, 4))
    assert set(Predictive(model, SAMPLES, return_sites=None, parallel=parallel)()) == {
        "z",
        "w",
        "sum",
        "x",
        "y",
        "pair",
        "_RETURN",
    }
    assert "x" not in Predictive(model, SAMPLES, parallel=parallel)(x=torch.ones(4))
    with pytest.raises(KeyError, match="no draw has a site 'nothing'"):
        Predictive(model, SAMPLES, return_sites=["nothing"], parallel=parallel)()


@pytest.mark.parametrize("parallel", [False, True])
def test_from_the_prior_and_from_a_guide(parallel):
    """The guide's z is 3 to a hundredth; local sites follow it, datum by datum."""
    prior = Predictive(model, num_samples=400, parallel=parallel, rng=1)()
    assert prior["z"].mean().item() == pytest.approx(0.0, abs=0.25)
    assert set(prior) == {"z", "w", "sum", "x", "y", "pair"}
    learned = Predictive(model, guide=guide, num_samples=50, parallel=parallel, return_sites=("z", "x"), rng=1)()
    assert learned["z"].mean().item() == pytest.approx(3.0, abs=0.02)
    torch.testing.assert_close(learned["x"].mean(0), 3.0 + torch.arange(4.0), rtol=0, atol=0.03)
    assert learned["x"].std(0).max().item() < 0.1


@pytest.mark.parametrize("parallel", [False, True])
def test_from_a_posterior_by_weight(parallel):
    builder = DrawsBuilder()
    for place in range(5):
        trace = handlers.trace(handlers.condition(model, {"z": torch.tensor(float(place))})).get_trace()
        trace.nodes["z"].is_observed = False
        builder.append(trace, 0.0 if place in (1, 3) else -200.0)
    draws = builder.build()
    predicted = Predictive(model, draws, num_samples=60, return_sites=["z", "w", "pair"], parallel=parallel, rng=2)()
    assert predicted["z"].unique().tolist() == [1.0, 3.0]
    for place, value in enumerate(predicted["z"].tolist()):
        assert torch.equal(predicted["w"][place], draws.values["w"][int(value)])
    equal = Draws(
        {name: draws.values[name] for name in ("z", "w", "y")},
        descriptions={name: draws.values.describe(name) for name in ("z", "w", "y")},
    )
    in_order = Predictive(model, equal, return_sites=["z"], parallel=parallel)()["z"]
    assert in_order.tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]


def test_nested_plates_in_parallel_as_in_a_loop():
    """Samples get the dims that their plates want: a site of the outer plate alone has a dim of one inside."""

    def nested():
        top = aleator.sample("top", dist.Normal(torch.zeros(3), 1.0).to_event(1))
        with aleator.plate("rows", 4, dim=-2):
            row = aleator.sample("row", dist.Normal(top.sum(-1), 1.0))
            with aleator.plate("columns", 2, dim=-1):
                aleator.deterministic("cell", row + torch.arange(2.0), event_dim=0)
        with aleator.plate("others", 2, dim=-1) as indices:
            aleator.deterministic("other", top[..., 0] + indices.float(), event_dim=0)

    samples = {"top": torch.arange(15.0).reshape(5, 3), "row": torch.arange(20.0).reshape(5, 4, 1)}
    loop, parallel = (Predictive(nested, samples, parallel=each, return_sites=None)() for each in (False, True))
    assert loop.keys() == parallel.keys()
    for name, value in loop.items():
        assert torch.equal(value, parallel[name])


def mixing():
    z = aleator.sample("z", dist.Normal(0.0, 1.0))
    aleator.deterministic("centred", z - z.mean())


def branching():
    z = aleator.sample("z", dist.Normal(0.0, 1.0))
    aleator.deterministic("sign", torch.tensor(1.0) if z > 0 else torch.tensor(-1.0))


def branching_on_the_mean():
    z = aleator.sample("z", dist.Normal(0.0, 1.0))
    aleator.deterministic("sign", torch.ones_like(z) if z.mean() > -9 else -torch.ones_like(z))


@pytest.mark.parametrize("program", [mixing, branching, branching_on_the_mean])
def test_a_program_that_does_not_go_by_samples_is_refused_in_parallel(program):
    samples = {"z": SAMPLES["z"]}
    assert len(Predictive(program, samples)()) == 1
    with pytest.raises(UnsupportedModelError, match=r"parallel=True.*parallel=False"):
        Predictive(program, samples, parallel=True)()


@pytest.mark.parametrize("parallel", [False, True])
def test_samples_of_the_wrong_shape_are_refused_by_name(parallel):
    """A column in the place of a number would broadcast, and give every datum every sample."""
    with pytest.raises(ValueError, match=r"site 'z' draws values of shape \(\), but was given one of shape \(1,\)"):
        Predictive(model, {"z": torch.zeros(6, 1)}, parallel=parallel)()


def test_arguments_are_checked():
    with pytest.raises(ValueError, match="not both"):
        Predictive(model, SAMPLES, guide=guide)
    with pytest.raises(ValueError, match="nothing tells the number of samples"):
        Predictive(model)
    with pytest.raises(ValueError, match="share a leading dim"):
        Predictive(model, {"z": torch.zeros(3), "w": torch.zeros(4, 4)})
    with pytest.raises(ValueError, match="num_samples is 9, but there are 6"):
        Predictive(model, SAMPLES, num_samples=9)
    with pytest.raises(ValueError, match="positive int"):
        Predictive(model, num_samples=0)
    with pytest.raises(TypeError, match="but found int"):
        Predictive(model, 7, num_samples=3)


def test_nothing_has_a_graph_and_one_seed_gives_one_prediction():
    def learned():
        z = aleator.sample("z", dist.Normal(aleator.param("loc", torch.tensor(1.0)), 1.0))
        aleator.deterministic("double", 2 * z)

    state = torch.get_rng_state()
    with aleator.ParamStore():
        for parallel in (False, True):
            first, second = (Predictive(learned, num_samples=5, parallel=parallel, rng=3)() for _ in range(2))
            assert not any(value.requires_grad for value in first.values())
            assert torch.equal(first["double"], second["double"])
    assert torch.equal(torch.get_rng_state(), state)


def test_writing_into_predictions_leaves_the_samples_alone():
    for parallel in (False, True):
        samples = {name: value.clone() for name, value in SAMPLES.items()}
        for value in Predictive(model, samples, parallel=parallel, return_sites=["z", "w", "sum"])().values():
            value.fill_(5.0)
        assert all(torch.equal(samples[name], SAMPLES[name]) for name in samples)
