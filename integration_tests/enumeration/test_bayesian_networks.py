"""Networks of discrete variables as models, against all assignments written out and published numbers."""

import itertools
import math
import sys
from pathlib import Path

import pytest
import torch

import aleator
import aleator.distributions as dist
from aleator.handlers import condition
from aleator.infer import TraceEnum_ELBO, config_enumerate, infer_discrete
from aleator.ops import Vindex

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "tools"))

from aleator_enum_discrete.engine.assignments import maximize
from aleator_enum_discrete.engine.contraction import contract
from aleator_enum_discrete.engine.marginals import marginalize
from oracles.bayesian_network import conditional_tables, model_of, tables_of
from oracles.bif import read_network

CLOSE = {"rtol": 1e-12, "atol": 1e-12}
ASIA = read_network(Path(__file__).parent / "asia.bif")
EVIDENCE = [
    {},
    {"breathless": 1},
    {"visit": 1, "breathless": 1},
    {"visit": 1, "breathless": 1, "smoking": 0, "shadow": 1},
    {"either": 1, "bronchitis": 0},
]


def guide():
    """Nothing: every latent variable is summed out."""


def given(model, evidence):
    return config_enumerate(condition(model, {name: torch.tensor(value) for name, value in evidence.items()}))


def every_assignment(network, evidence):
    """Yield each assignment that agrees with the evidence and its probability, a product of Python floats."""
    tables = {name: table.tolist() for name, table in conditional_tables(network).items()}
    sizes = network.sizes()
    for values in itertools.product(*([evidence[name]] if name in evidence else range(sizes[name]) for name in sizes)):
        assignment = dict(zip(sizes, values, strict=True))
        probability = 1.0
        for name, table in tables.items():
            for each in (*network.nodes[name].parents, name):
                table = table[assignment[each]]
            probability *= table
        yield assignment, probability


@pytest.mark.parametrize("evidence", EVIDENCE, ids=lambda evidence: "-".join(evidence) or "nothing")
def test_asia_by_tables_and_by_a_model(evidence):
    weighed = list(every_assignment(ASIA, evidence))
    total = math.fsum(probability for _, probability in weighed)
    free = [name for name in ASIA.nodes if name not in evidence]
    expected = {
        name: torch.tensor(
            [math.fsum(p for each, p in weighed if each[name] == value) / total for value in range(2)],
            dtype=torch.float64,
        )
        for name in free
    }
    most_probable = max(weighed, key=lambda pair: pair[1])

    tables, domain = tables_of(ASIA, evidence)
    log_total = torch.tensor(math.log(total), dtype=torch.float64)
    torch.testing.assert_close(contract(tables, domain), log_total, **CLOSE)
    for name, found in marginalize(tables, domain).variables.items():
        torch.testing.assert_close(found.values, expected[name], **CLOSE)
    best = maximize(tables, domain)
    assert {name: best.values[name].values.item() for name in free} == {name: most_probable[0][name] for name in free}
    assert best.total.item() == pytest.approx(math.log(most_probable[1]), rel=1e-12)

    model = given(model_of(ASIA), evidence)
    estimator = TraceEnum_ELBO(max_plate_nesting=0)
    assert -estimator.loss(model, guide) == pytest.approx(math.log(total), rel=1e-12, abs=1e-14)
    marginals = estimator.compute_marginals(model, guide)
    assert set(marginals) == set(free)
    for name in free:
        torch.testing.assert_close(marginals[name].probs, expected[name], **CLOSE)
    values = infer_discrete(model, first_available_dim=-1, temperature=0)()
    assert {name: int(value) for name, value in values.items()} == most_probable[0]


def test_asia_has_the_published_probabilities():
    """Lauritzen & Spiegelhalter (1988), section 8: what is known before anything is observed."""
    marginals = TraceEnum_ELBO(max_plate_nesting=0).compute_marginals(given(model_of(ASIA), {}), guide)
    published = {
        "tuberculosis": 0.0104,
        "cancer": 0.0550,
        "bronchitis": 0.4500,
        "either": 0.0648,
        "shadow": 0.1103,
        "breathless": 0.4360,
    }
    for name, probability in published.items():
        assert round(marginals[name].probs[1].item(), 4) == probability


PARENTS = {
    # the first three outside every plate, then three for each row, then two for each cell
    "a": (),
    "b": ("a",),
    "c": ("a", "b"),
    "r": ("c",),
    "s": ("r", "a"),
    "t": ("r", "s"),
    "x": ("s", "b"),
    "y": ("x", "t"),
}
SIZES = {"a": 2, "b": 3, "c": 2, "r": 2, "s": 2, "t": 2, "x": 2, "y": 2}
ROWS, CELLS = 2, 2


def random_tables():
    source = torch.Generator().manual_seed(20)
    shapes = {name: [SIZES[each] for each in (*parents, name)] for name, parents in PARENTS.items()}
    return {
        name: torch.rand(shape, generator=source, dtype=torch.float64).softmax(-1) for name, shape in shapes.items()
    }


def plated_model():
    """Eight sites: three outside, three in each of two rows, one latent and one observed in each of four cells."""
    tables = {name: Vindex(table) for name, table in random_tables().items()}
    values = {}

    def draw(name, obs=None):
        probs = tables[name][(*(values[parent] for parent in PARENTS[name]), slice(None))]
        values[name] = aleator.sample(name, dist.Categorical(probs), obs=obs)

    for name in "abc":
        draw(name)
    with aleator.plate("rows", ROWS, dim=-2):
        for name in "rst":
            draw(name)
        with aleator.plate("cells", CELLS, dim=-1):
            draw("x")
            draw("y", obs=OBSERVED)
    return values


OBSERVED = torch.tensor([[0, 1], [1, 1]])


def plated_joint():
    """Every assignment of the plated model's latent variables in one table; each dim's name and element beside it."""
    rows = [(name, (i,)) for i in range(ROWS) for name in "rst"]
    cells = [("x", (i, j)) for i in range(ROWS) for j in range(CELLS)]
    dims = [(name, ()) for name in "abc"] + rows + cells
    letters = {dim: chr(ord("a") + place) for place, dim in enumerate(dims)}
    tables = random_tables()
    terms, operands = [], []
    factors = [*dims, *(("y", (i, j)) for i in range(ROWS) for j in range(CELLS))]
    for name, element in factors:
        table = tables[name] if name != "y" else tables["y"][..., OBSERVED[element]]
        held = (*PARENTS[name], name) if name != "y" else PARENTS[name]
        depth = {each: 0 if each in "abc" else 1 if each in "rst" else 2 for each in held}
        terms.append("".join(letters[each, element[: depth[each]]] for each in held))
        operands.append(table)
    joint = torch.einsum(f"{','.join(terms)}->{''.join(letters[dim] for dim in dims)}", *operands)
    return joint, dims


def test_a_plated_network_of_thirteen_latent_variables():
    joint, dims = plated_joint()
    model = config_enumerate(plated_model)
    estimator = TraceEnum_ELBO(max_plate_nesting=2)
    assert -estimator.loss(model, guide) == pytest.approx(joint.sum().log().item(), rel=1e-12)
    marginals = estimator.compute_marginals(model, guide)
    best = infer_discrete(model, first_available_dim=-3, temperature=0)()
    most_probable = torch.unravel_index(joint.argmax(), joint.shape)
    for place, (name, element) in enumerate(dims):
        others = [dim for dim in range(joint.dim()) if dim != place]
        probs = marginals[name].probs.squeeze()[element]
        torch.testing.assert_close(probs, joint.sum(others) / joint.sum(), **CLOSE)
        assert best[name].squeeze()[element] == most_probable[place]
