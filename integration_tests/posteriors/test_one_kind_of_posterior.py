"""What algorithms of several packages give is one kind of posterior, and goes through the same views."""

import torch

import aleator
import aleator.distributions as dist
from aleator.infer import SVI, Importance, Predictive, Trace_ELBO, TracePredictive
from aleator.optim import Adam
from aleator_posterior import TracePosterior, load_draws, save_draws

DATA = torch.tensor([0.5, -1.0, 2.0])


def model(x=DATA):
    z = aleator.sample("z", dist.Normal(0.0, 1.0))
    with aleator.plate("data", 3):
        w = aleator.sample("w", dist.Normal(z, 1.0))
        aleator.deterministic("sum", w + z, event_dim=0)
        aleator.sample("x", dist.Normal(w, 1.0), obs=x)
    return z


def guide(x=DATA):
    z = aleator.sample("z", dist.Normal(aleator.param("loc", torch.tensor(0.3)), 1.0))
    with aleator.plate("data", 3):
        aleator.sample("w", dist.Normal(0.5 * z, 1.2))


def posteriors():
    with aleator.ParamStore():
        svi = SVI(model, guide, Adam(lr=0.01), Trace_ELBO(), num_samples=20, num_steps=2, rng=0, progress=False)
        yield svi.run()
        yield Importance(model, guide, 20, rng=0, progress=False).run()
        yield Importance(model, guide, 20, rng=0, progress=False, vectorize=False).run()


def test_sites_shapes_descriptions_and_traces_are_the_same():
    first, *others = posteriors()
    assert isinstance(first, TracePosterior)
    for other in others:
        assert isinstance(other, TracePosterior)
        assert list(other.draws.values) == list(first.draws.values)
        assert list(other.draws.log_likelihoods) == list(first.draws.log_likelihoods)
        assert list(other.draws.subsamples) == list(first.draws.subsamples)
        for name in first.draws.values:
            assert other.draws.values.describe(name) == first.draws.values.describe(name)
            assert other.draws.values[name].shape == first.draws.values[name].shape
        assert other.draws.dims == first.draws.dims
        assert other.draws.plates == first.draws.plates
        assert list(other.exec_traces[0].nodes) == list(first.exec_traces[0].nodes)


def test_every_view_takes_each_of_them(tmp_path):
    for posterior in posteriors():
        assert posterior.information_criterion().keys() == {"waic", "p_waic"}
        assert posterior.marginal(["z", "w"]).support()["w"].shape == (20, 3)
        predicted = TracePredictive(model, posterior, 5).run(None).draws
        assert predicted.values["x"].shape == (5, 3)
        for parallel in (False, True):
            found = Predictive(model, posterior, num_samples=6, parallel=parallel)(None)
            assert {name: tuple(value.shape) for name, value in found.items()} == {"sum": (6, 3), "x": (6, 3)}
        save_draws(tmp_path / "draws.pt", posterior.draws)
        assert torch.equal(load_draws(tmp_path / "draws.pt").values["w"], posterior.draws.values["w"])
