"""What a program draws by torch itself comes from elsewhere in a compiled step of a run with a source: that is said."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator.errors import AleatorWarning
from aleator.infer import SVI, Trace_ELBO
from aleator.optim import Adam

HERE = Path(__file__).name


def site(value):
    aleator.sample("x", dist.Normal(value, 1.0), obs=torch.tensor(1.0))


def guide():
    aleator.sample("z", dist.Normal(aleator.param("at", torch.tensor(0.3)), 1.0))


def dropping():
    z = aleator.sample("z", dist.Normal(0.0, 1.0))
    site(torch.nn.functional.dropout(z + torch.ones(4), 0.5).sum())  # the line that is named


def adding_noise():
    site(aleator.sample("z", dist.Normal(0.0, 1.0)) + torch.randn(()))  # as above


def of_our_distributions():
    z = aleator.sample("z", dist.Normal(0.0, 1.0))
    with aleator.plate("rows", 4, subsample_size=2) as rows:
        aleator.sample("y", dist.Normal(z + rows.sum(), 1.0), obs=torch.zeros(2))


def guide_of_torch():
    aleator.sample("z", torch.distributions.Normal(aleator.param("at", torch.tensor(0.3)), 1.0, validate_args=False))


def taken(model, guide=guide, **options):
    with aleator.ParamStore(), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        svi = SVI(model, guide, Adam(lr=0.01), Trace_ELBO(), compile="eager", **options)
        for _ in range(3):
            svi.step()
    return svi.compile_report(), [str(each.message) for each in caught if each.category is AleatorWarning]


@pytest.mark.parametrize(("model", "line"), [(dropping, 2), (adding_noise, 1)])
def test_draws_of_torch_in_a_run_with_its_own_randomness_are_said_once_with_the_line(model, line):
    """SEMANTICS 77: they are the one exception from equal streams."""
    report, said = taken(model, rng=0)
    assert report.built == 1
    (text,) = said
    assert "draws by torch itself" in text
    assert f"{HERE}:{model.__code__.co_firstlineno + line}" in text


@pytest.mark.parametrize("model", [dropping, adding_noise])
def test_without_a_source_both_draw_from_the_process_and_nothing_is_said(model):
    report, said = taken(model)
    assert report.built == 1
    assert said == []


@pytest.mark.parametrize("guide", [guide, guide_of_torch])
def test_draws_at_sites_and_of_plates_are_no_draws_by_torch_itself(guide):
    report, said = taken(of_our_distributions, guide, rng=0)
    assert report.built == 1
    assert said == []
