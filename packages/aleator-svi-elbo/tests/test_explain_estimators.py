# ruff: noqa: E501 - a table is as wide as its columns
"""What the official estimators say of themselves before the first step."""

from __future__ import annotations

import torch

import aleator
import aleator.distributions as dist
from aleator.infer import explain
from aleator_svi_elbo import Trace_ELBO, TraceMeanField_ELBO


def model(data):
    scale = aleator.sample("scale", dist.HalfCauchy(1.0))
    mean = aleator.sample("mean", dist.Normal(0.0, scale))
    with aleator.plate("data", 10, subsample=[0, 1]) as rows:
        local = aleator.sample("local", dist.Normal(mean, 1.0))
        aleator.sample("x", dist.Normal(local, scale), obs=data[rows])


def guide(data):
    mean = aleator.sample("mean", dist.Normal(aleator.param("mean_loc", torch.tensor(0.0)), 1.0))
    aleator.sample("scale", dist.LogNormal(mean, 1.0))
    with aleator.plate("data", 10, subsample=[0, 1]):
        aleator.sample("local", dist.Normal(0.0, 1.0), infer={"gradient": "score"})


TRACE = """\
Trace_ELBO(num_particles=2)
site   in     role      plates         distribution  gradient  kl           score costs                     scale
mean   guide  latent                   Normal        pathwise  Monte Carlo
scale  guide  latent                   LogNormal     pathwise  Monte Carlo
local  guide  latent    data[2 of 10]  Normal (2)    score     Monte Carlo  all sites, per element of data  1 x 5
scale  model  latent                   HalfCauchy
mean   model  latent                   Normal
local  model  latent    data[2 of 10]  Normal (2)                                                           1 x 5
x      model  observed  data[2 of 10]  Normal (2)                                                           1 x 5"""

MEAN_FIELD = """\
TraceMeanField_ELBO(vectorize_particles=True)
site   in     role      plates         distribution  gradient  kl                                             score costs                     scale
mean   guide  latent                   Normal        pathwise  Monte Carlo (q(scale) uses it)
scale  guide  latent                   LogNormal     pathwise  Monte Carlo (no rule LogNormal to HalfCauchy)
local  guide  latent    data[2 of 10]  Normal (2)    score     Monte Carlo (rule score)                       all sites, per element of data  1 x 5
scale  model  latent                   HalfCauchy
mean   model  latent                   Normal
local  model  latent    data[2 of 10]  Normal (2)                                                                                             1 x 5
x      model  observed  data[2 of 10]  Normal (2)                                                                                             1 x 5"""


def test_trace_elbo():
    with aleator.ParamStore() as store:
        assert str(explain(model, guide, Trace_ELBO(num_particles=2), torch.zeros(10))) == TRACE
        assert not store.keys()


def test_trace_mean_field_elbo():
    """The condition fails at mean, whose prior looks at scale, which the guide draws from mean."""
    with aleator.ParamStore():
        explanation = explain(model, guide, TraceMeanField_ELBO(vectorize_particles=True), torch.zeros(10))
    assert str(explanation) == MEAN_FIELD
    by_site = {row.site: row for row in explanation.rows if row.program == "guide"}
    assert by_site["mean"].kl == "Monte Carlo (q(scale) uses it)"
    assert by_site["local"].score_costs == "all sites, per element of data"


def test_every_wish_that_cannot_be_met_is_listed():
    def discrete(data):
        aleator.sample("scale", dist.HalfCauchy(1.0), infer={"gradient": "dreg"})
        aleator.sample("mean", dist.Bernoulli(0.5))
        with aleator.plate("data", 10, subsample=[0, 1]):
            aleator.sample("local", dist.Normal(0.0, 1.0))

    with aleator.ParamStore():
        problems = explain(model, discrete, TraceMeanField_ELBO(), torch.zeros(10)).problems
    assert len(problems) == 2
    assert "guide site 'scale' asks for the gradient rule 'dreg'" in problems[0]
    assert "guide site 'mean' has no reparameterized draw (Bernoulli)" in problems[1]
