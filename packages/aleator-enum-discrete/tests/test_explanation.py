"""What ``explain`` says of enumeration, before the first step."""

import torch

import aleator
import aleator.distributions as dist
from aleator.infer import TraceEnum_ELBO, config_enumerate, explain

STEP = torch.tensor([[0.8, 0.2], [0.3, 0.7]])


@config_enumerate
def model():
    aleator.sample("b", dist.Bernoulli(0.5))
    with aleator.plate("rows", 5):
        x = torch.zeros(()).long()
        for t in aleator.markov(range(4)):
            x = aleator.sample(f"x_{t}", dist.Categorical(STEP[x]))
            aleator.sample(f"y_{t}", dist.Normal(x.float(), 1.0), obs=torch.zeros(5))


@config_enumerate(default="sequential")
def guide():
    aleator.sample("b", dist.Bernoulli(0.5))


def test_dims_order_and_cost_are_shown():
    found = explain(model, guide, TraceEnum_ELBO(max_plate_nesting=1))
    assert found.problems == ()
    rows = {(row.site, row.program): row for row in found.rows}
    assert rows["b", "guide"].more["enumerated"] == "2 values, one run each"
    assert [rows[f"x_{t}", "model"].more["enumerated"] for t in range(3)] == [
        "2 values at dim -2",
        "2 values at dim -3",
        "2 values at dim -2",
    ]
    assert rows["x_0", "model"].gradient == "exact"
    (line,) = found.sums
    assert line.startswith("sum over x_0 .. x_3: x_0 .. x_3; ")
    assert "multiplications and additions; at most" in line
    assert "kept for the gradient; largest table over" in line
    assert line in str(found)


def test_what_the_first_step_would_raise():
    def looks_back():
        past = []
        for t in aleator.markov(range(3)):
            past.append(aleator.sample(f"x_{t}", dist.Categorical(STEP[past[0]] if t else STEP[0])))

    found = explain(config_enumerate(looks_back), lambda: None, TraceEnum_ELBO(max_plate_nesting=0))
    assert any("outside its markov window" in problem for problem in found.problems)
