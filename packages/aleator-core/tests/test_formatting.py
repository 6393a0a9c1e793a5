"""The table of shapes."""

import torch

import aleator
import aleator.distributions as dist
from aleator import handlers
from aleator.sites import Site
from aleator.trace import Trace


def model():
    scale = aleator.param("scale", torch.ones(3))
    with aleator.plate("outer", 2, dim=-2):
        z = aleator.sample("z", dist.Normal(torch.zeros(3), scale).to_event(1))
        with aleator.plate("data", 10, subsample_size=4, dim=-1):
            aleator.sample("x", dist.MultivariateNormal(z, torch.eye(3)), obs=torch.zeros(2, 4, 3))


TABLE = """\
Trace Shapes:
 Param Sites:
 scale      3
Sample Sites:
outer plate    2
    z dist     2    1 | 3
      value    2    1 | 3
      log_prob    2    1 |
 data plate    4
    x dist     2    4 | 3
      value    2    4 | 3
      log_prob    2    4 |"""


def words(text):
    return [line.split() for line in text.splitlines()]


def test_batch_dims_left_of_the_bar_and_event_dims_right():
    with aleator.ParamStore():
        trace = handlers.trace(model).get_trace()
    assert words(trace.format_shapes()) == words(TABLE)


def test_columns_are_aligned():
    with aleator.ParamStore():
        lines = handlers.trace(model).get_trace().format_shapes().splitlines()
    bars = {line.index("|") for line in lines if "|" in line}
    assert len(bars) == 1


def test_title_and_last_site():
    with aleator.ParamStore():
        trace = handlers.trace(model).get_trace()
    table = trace.format_shapes(title="Up to here:", last_site="z")
    assert table.startswith("Up to here:\n")
    assert "z dist" in " ".join(table.split())
    assert " x " not in table
    assert not trace.format_shapes(title="").startswith("\n")


def test_sites_that_cannot_be_scored_are_shown_without_a_score():
    trace = Trace()
    trace.add(Site("sample", "misfit", dist.Normal(torch.zeros(3), 1.0), value=torch.zeros(2)))
    trace.add(Site("sample", "called", lambda: "text", value="text"))
    trace.add(Site("sample", "short", dist.Dirichlet(torch.ones(3)), value=torch.tensor(1.0)))
    table = trace.format_shapes()
    assert words(table)[2:4] == [["misfit", "dist", "3", "|"], ["value", "2", "|"]]
    assert "called" in table
    assert "log_prob" not in table
