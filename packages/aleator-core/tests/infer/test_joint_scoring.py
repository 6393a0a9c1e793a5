"""Small sites that are alike are scored together: the same numbers and gradients, in the operations of one."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Normal as TorchNormal

import aleator
import aleator.distributions as dist
from aleator import handlers
from aleator.infer import joint_scoring
from aleator.infer.joint_scoring import LEAST_SITES, MOST_ELEMENTS, score_sites
from aleator.scoring import KNOWN_LOG_PROB, KnownLogProb, score_site
from aleator.sites import Site

COUNT = 6
LAWS = {
    "Normal": lambda a, b: dist.Normal(a, b.exp()),
    "Normal, a number as scale": lambda a, b: dist.Normal(a, 2.0),
    "LogNormal": lambda a, b: dist.LogNormal(a, b.exp()),
    "Laplace": lambda a, b: dist.Laplace(a, b.exp()),
    "Cauchy": lambda a, b: dist.Cauchy(a, b.exp()),
    "StudentT": lambda a, b: dist.StudentT(b.exp() + 1.0, a, 0.5),
    "Gamma": lambda a, b: dist.Gamma(a.exp(), b.exp()),
    "Exponential": lambda a, b: dist.Exponential(a.exp()),
    "Poisson": lambda a, b: dist.Poisson(a.exp()),
    "Bernoulli, logits": lambda a, b: dist.Bernoulli(logits=a),
    "Bernoulli, probs": lambda a, b: dist.Bernoulli(a.sigmoid()),
    "Categorical, logits": lambda a, b: dist.Categorical(logits=a),
    "Categorical, weights": lambda a, b: dist.Categorical(a.exp()),
    "of vectors": lambda a, b: dist.Normal(a, b.exp()).to_event(1),
}


def sites_of(make, shapes, plate=None):
    """Sites of a run: each with numbers of its own, arguments of the two shapes, in a plate or not."""
    generator = torch.Generator().manual_seed(3)
    leaves = []

    def program():
        for place in range(COUNT):
            first, second = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
            leaves.extend((first.requires_grad_(), second.requires_grad_()))
            if plate is None:
                aleator.sample(f"x{place}", make(first, second))
            else:
                with aleator.plate(f"rows{place}", plate):
                    aleator.sample(f"x{place}", make(first, second))

    aleator.set_rng_seed(1)
    trace = handlers.trace(program).get_trace()
    return [site for site in trace.nodes.values() if site.type == "sample"], leaves


def gradients(scores, leaves):
    weights = (place + 1.0 for place in range(COUNT))
    total = sum(score.sum() * weight for (_, score), weight in zip(scores, weights, strict=True))
    return torch.autograd.grad(total, leaves, retain_graph=True, allow_unused=True, materialize_grads=True)


@pytest.mark.parametrize(
    ("plate", "first", "second"),
    [
        (None, (3,), (3,)),
        (None, (4, 3), (3,)),
        (None, (3,), (4, 1)),
        (5, (), ()),
        (5, (4, 1), (5,)),
        (5, (1,), (2, 1)),
    ],
)
@pytest.mark.parametrize("name", LAWS)
def test_the_numbers_of_one_at_a_time(monkeypatch, name, plate, first, second):
    """Would catch a stack along the wrong dim, sites taken for one another, and arguments of fewer dims misplaced."""
    event = (3,) if "Categorical" in name or "vectors" in name else ()
    shapes = ((*first, *event), (*second, *event))
    sites, leaves = sites_of(LAWS[name], shapes, plate)
    alone = [score_site(site) for site in sites]
    monkeypatch.setattr(joint_scoring, "score_site", None)
    together = list(score_sites(sites).values())
    for (raw, masked), (raw_alone, masked_alone) in zip(together, alone, strict=True):
        assert raw.shape == raw_alone.shape
        torch.testing.assert_close(raw, raw_alone, rtol=1e-12, atol=1e-12)
        torch.testing.assert_close(masked, masked_alone, rtol=1e-12, atol=1e-12)
    for found, expected in zip(gradients(together, leaves), gradients(alone, leaves), strict=True):
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def count_log_probs(monkeypatch, program):
    calls = []
    original = dist.Normal.log_prob
    monkeypatch.setattr(dist.Normal, "log_prob", lambda self, value: calls.append(1) or original(self, value))
    trace = handlers.trace(program).get_trace()
    scores = score_sites([site for site in trace.nodes.values() if site.type == "sample"])
    assert list(scores) == [name for name, site in trace.nodes.items() if site.type == "sample"]
    return len(calls)


def test_a_hundred_sites_are_scored_in_one_call(monkeypatch):
    def program():
        for step in range(100):
            aleator.sample(f"x{step}", dist.Normal(torch.full((3,), float(step)), 1.0))

    assert count_log_probs(monkeypatch, program) == 1


@pytest.mark.parametrize(
    ("calls", "laws"),
    [
        (2, lambda place: dist.Normal(torch.zeros(2 + place % 2), 1.0)),
        (2, lambda place: dist.Normal(torch.zeros(2), 1.0 + place % 2)),
        (2, lambda place: dist.Normal(torch.zeros(2, dtype=[torch.float32, torch.float64][place % 2]), 1.0)),
        (8, lambda place: dist.Normal(torch.zeros(2), 1.0).mask(torch.tensor([True, False]))),
        (8, lambda place: dist.Normal(torch.zeros(MOST_ELEMENTS + 1), 1.0)),
        (8, lambda place: dist.Normal(torch.zeros(2), 1.0 + place)),
    ],
    ids=["shapes", "numbers", "dtypes", "masked laws", "size", "no two alike"],
)
def test_only_what_is_alike_and_small_goes_together(monkeypatch, calls, laws):
    assert count_log_probs(monkeypatch, lambda: [aleator.sample(f"x{i}", laws(i)) for i in range(8)]) == calls


def test_masked_sites_go_one_by_one(monkeypatch):
    """A mask fills in what is missing, site by site."""

    def program():
        with handlers.mask(mask=torch.tensor([True, False])):
            for step in range(8):
                aleator.sample(f"x{step}", dist.Normal(torch.zeros(2), 1.0), obs=torch.tensor([0.0, torch.nan]))

    with aleator.settings.validation_enabled(False):
        assert count_log_probs(monkeypatch, program) == 8


def test_values_of_more_dims_than_their_laws(monkeypatch):
    """A value that lay in a plate once may meet a law outside of it."""
    monkeypatch.setattr(joint_scoring, "score_site", None)
    values = [torch.arange(6.0).reshape(2, 3) + place for place in range(5)]
    sites = [Site("sample", f"x{i}", dist.Normal(torch.zeros(3), 1.0), value=values[i]) for i in range(5)]
    for place, (raw, _) in enumerate(score_sites(sites).values()):
        torch.testing.assert_close(raw, dist.Normal(0.0, 1.0).log_prob(values[place]))


@pytest.mark.parametrize("lacks_plates", [True, False])
def test_a_known_log_prob_repeats_along_plates_that_it_lacks(lacks_plates):
    """It is expanded as others are, unless its reader knows: copies of tables would cost."""
    sites = [Site("sample", f"x{i}", dist.Normal(torch.full((3,), i), 1.0), value=torch.zeros(3)) for i in range(5)]
    for site in sites:
        known = KnownLogProb(site.value, lambda law, outer: law.loc.sum(-1), "sums", lacks_plates)
        site.stash[KNOWN_LOG_PROB] = known
    expected = [3.0 * i if lacks_plates else [3.0 * i] * 3 for i in range(5)]
    assert [raw.tolist() for raw, _ in score_sites(sites).values()] == expected
    assert [score_site(site)[0].tolist() for site in sites] == expected


def test_few_sites_go_one_by_one(monkeypatch):
    program = lambda: [aleator.sample(f"x{i}", dist.Normal(torch.zeros(2), 1.0)) for i in range(LEAST_SITES - 1)]  # noqa: E731  # one line
    assert count_log_probs(monkeypatch, program) == LEAST_SITES - 1


def test_strangers_are_scored_by_themselves():
    """A law that is not ours may read its value in ways that a stack would change."""
    sites = [Site("sample", f"x{i}", TorchNormal(float(i), 1.0), value=torch.tensor(0.0)) for i in range(5)]
    found = [score.item() for score, _ in score_sites(sites).values()]
    assert found == [TorchNormal(float(i), 1.0).log_prob(torch.tensor(0.0)).item() for i in range(5)]


def test_the_site_with_a_value_that_cannot_be_scored_is_named():
    probs = torch.full((3,), 1 / 3)
    sites = [Site("sample", f"z{i}", dist.Categorical(probs), value=torch.tensor(i)) for i in range(5)]
    with pytest.raises(ValueError, match="'z3'"):
        score_sites(sites)


def test_a_known_way_is_taken_for_the_very_value_only():
    """A handler may replace a value after the way was noted: then the law is asked."""
    sites = [Site("sample", f"x{i}", dist.Normal(torch.zeros(2), 1.0), value=torch.zeros(2)) for i in range(8)]
    for site in sites:
        way = lambda law, outer: torch.full((*law.batch_shape,), 7.0)  # noqa: E731  # one line
        site.stash[KNOWN_LOG_PROB] = KnownLogProb(site.value, way, "sevens")
    for site in sites[4:]:
        site.value = torch.zeros(2)
    scores = [raw for raw, _ in score_sites(sites).values()]
    assert all((score == 7.0).all() for score in scores[:4])
    expected = dist.Normal(0.0, 1.0).log_prob(torch.zeros(2))
    assert all(torch.equal(score, expected) for score in scores[4:])


def test_under_vmap():
    """The number of sites is no dim that ``vmap`` maps over."""

    def log_prob(locs):
        sites = [Site("sample", f"x{i}", dist.Normal(locs[i], 1.0), value=torch.tensor(0.5)) for i in range(5)]
        return torch.stack([raw for raw, _ in score_sites(sites).values()])

    locs = torch.arange(15.0).reshape(3, 5)
    torch.testing.assert_close(torch.func.vmap(log_prob)(locs), dist.Normal(locs, 1.0).log_prob(torch.tensor(0.5)))
