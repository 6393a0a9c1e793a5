"""explain: the table of a program before its first step, as text and as data, leaving everything as it was."""

from __future__ import annotations

from dataclasses import FrozenInstanceError

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator import handlers
from aleator.infer import AbstractEstimator, Capabilities, Explanation, explain
from aleator.infer.structure import SITE_STRUCTURE

DATA = torch.zeros(4)


class Drawn(AbstractEstimator):
    """One sample of anything, with columns of its own."""

    capabilities = Capabilities(non_reparam=True, gradient_rules=frozenset({"pathwise", "score"}))

    def __init__(self, one_sample):
        self._inner = one_sample

    def estimate(self, model, guide, /, *args, **kwargs):
        return self._inner.estimate(model, guide, *args, **kwargs)

    def explain_sites(self, model_trace, guide_trace):
        return {
            name: {"kl": "by hand", "parents": ", ".join(sorted(site.stash[SITE_STRUCTURE].value_depends_on))}
            for name, site in guide_trace.nodes.items()
            if site.type == "sample"
        }

    def __repr__(self):
        return "Drawn()"


def model(data, scale=1.0):
    z = aleator.sample("z", dist.Normal(0.0, 1.0).expand((2,)).to_event(1))
    with aleator.plate("data", 4, subsample=[1, 2]) as rows, handlers.scale(scale=3.0):
        b = aleator.sample("b", dist.Bernoulli(logits=z[0]))
        with handlers.mask(mask=torch.tensor([True, False])):
            aleator.sample("x", dist.Normal(b, scale), obs=data[rows])
    for turn in aleator.plate("turns", 2):
        aleator.sample(f"y_{turn}", dist.Normal(z[1], 1.0).mask(False), obs=torch.tensor(0.0))


def guide(data, scale=1.0):
    loc = aleator.param("loc", torch.zeros(2))
    u = aleator.sample("u", dist.Normal(0.0, 1.0), infer={"is_auxiliary": True})
    aleator.sample("z", dist.Normal(loc + u, 1.0).to_event(1), infer={"gradient": "score"})
    with aleator.plate("data", 4, subsample=[1, 2]), handlers.scale(scale=3.0):
        aleator.sample("b", dist.Bernoulli(0.5))


TABLE = """\
Drawn()
site  in     role       plates              distribution   gradient  kl       scale  mask         parents
u     guide  auxiliary                      Normal         pathwise  by hand
z     guide  latent                         Normal ( | 2)  score     by hand                      u
b     guide  latent     data[2 of 4]        Bernoulli (2)  score     by hand  3 x 2
z     model  latent                         Normal ( | 2)
b     model  latent     data[2 of 4]        Bernoulli (2)                     3 x 2
x     model  observed   data[2 of 4]        Normal (2)                        3 x 2  tensor (2,)
y_0   model  observed   turns[turn 0 of 2]  masked Normal
y_1   model  observed   turns[turn 1 of 2]  masked Normal"""


def test_the_table(one_sample):
    assert str(explain(model, guide, Drawn(one_sample), DATA)) == TABLE


def test_the_rows(one_sample):
    explanation = explain(model, guide, Drawn(one_sample), DATA, scale=2.0)
    assert isinstance(explanation, Explanation)
    assert explanation.problems == ()
    row = next(row for row in explanation.rows if row.site == "x")
    assert (row.program, row.role, row.distribution, row.batch_shape, row.event_shape) == (
        "model",
        "observed",
        "Normal",
        (2,),
        (),
    )
    assert [(frame.name, frame.size, frame.full_size) for frame in row.plates] == [("data", 2, 4)]
    assert explanation.rows[1].more == {"parents": "u"}
    with pytest.raises(FrozenInstanceError):
        row.site = "other"


def test_everything_stays_as_it_was(one_sample, store):
    """No parameter is made, no draw is taken from the stream, buffers and values stay."""
    net = torch.nn.BatchNorm1d(2)
    store["other"] = torch.tensor(1.0)
    aleator.module("net", net)
    mean = net.running_mean.clone()

    def with_net(data):
        aleator.module("net", net)(torch.randn(3, 2) + 5.0)
        aleator.param("new", torch.tensor(0.0))
        aleator.sample("z", dist.Normal(aleator.param("other"), 1.0))

    names = list(store)
    with aleator.rng(0):
        explain(with_net, with_net, Drawn(one_sample), DATA)
        after = aleator.sample("a", dist.Normal(0.0, 1.0))
    with aleator.rng(0):
        assert aleator.sample("a", dist.Normal(0.0, 1.0)) == after
    assert list(store) == names
    assert store.buffers["net$$$running_mean"] is net.running_mean
    torch.testing.assert_close(net.running_mean, mean, rtol=0.0, atol=0.0)
    assert next(net.parameters()).grad is None


def test_problems_are_gathered_not_raised(one_sample):
    """Sites, plates and rules that the first step would refuse, each with its site."""

    def lacking(data):
        aleator.sample("z", dist.Normal(0.0, 1.0), infer={"gradient": "stl"})
        aleator.sample("b", dist.Bernoulli(0.5), infer={"gradient": "pathwise"})

    def wider(data):
        aleator.sample("z", dist.Normal(torch.zeros(3), 1.0))
        aleator.sample("b", dist.Bernoulli(0.5))
        aleator.sample("w", dist.Normal(0.0, 1.0))

    explanation = explain(wider, lacking, Drawn(one_sample), DATA)
    text = "\n".join(explanation.problems)
    assert "guide site 'z' asks for the gradient rule 'stl', but Drawn has ['pathwise', 'score']" in text
    assert "guide site 'b' asks for the gradient rule 'pathwise', but Bernoulli has no reparameterized draw" in text
    assert "latent sites ['w'] are not in the guide" in text
    assert "model site 'z' has batch shape (3,), but no plate declares dim -1" in text
    by_site = {(row.program, row.site): len(row.problems) for row in explanation.rows}
    assert by_site["guide", "z"] == 2
    assert by_site["model", "w"] == 1
    assert "The first step would raise:\n- guide site 'z'" in str(explanation)


def test_what_only_an_estimate_finds(one_sample):
    class Picky(Drawn):
        def estimate(self, model, guide, /, *args, **kwargs):
            raise NotImplementedError("site 'z' is not to its taste")

    explanation = explain(model, guide, Picky(one_sample), DATA)
    assert explanation.problems == ("site 'z' is not to its taste",)


def test_a_model_that_cannot_run_on_the_guide(one_sample):
    def observing(data):
        aleator.sample("z", dist.Normal(0.0, 1.0), obs=torch.tensor(0.0))

    def drawing(data):
        aleator.sample("z", dist.Normal(0.0, 1.0))

    explanation = explain(drawing, observing, Drawn(one_sample), DATA)
    assert any("replay: site 'z' is latent here" in problem for problem in explanation.problems)
    assert [row.program for row in explanation.rows] == ["guide"]


def test_errors_of_the_programs_are_theirs(one_sample):
    def broken(data):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        explain(broken, broken, Drawn(one_sample), DATA)
