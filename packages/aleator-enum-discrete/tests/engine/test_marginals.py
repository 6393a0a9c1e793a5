"""Posterior probabilities against all assignments written out."""

import math

import torch
from hypothesis import given, settings

from aleator.errors import UnsupportedModelError
from aleator_enum_discrete.engine.marginals import marginalize, weighted_sum
from aleator_enum_discrete.engine.tables import Domain, Table, Variable
from brute_force import joint_table
from random_graphs import graphs, requiring_gradient

CLOSE = {"rtol": 1e-12, "atol": 1e-12}


def expected_marginal(joint, order, variable, where):
    place = order.index((variable.name, where))
    others = [dim for dim in range(joint.dim()) if dim != place]
    return joint.exp().sum(others) / joint.exp().sum() if others else joint.softmax(0)


@settings(max_examples=120, deadline=None)
@given(graphs())
def test_every_variables_probabilities(graph):
    tables, domain = graph
    try:
        posterior = marginalize(tables, domain)
    except UnsupportedModelError:
        return
    joint, order = joint_table(tables, domain)
    torch.testing.assert_close(posterior.total, joint.flatten().logsumexp(0), **CLOSE)
    if joint.amax() == -math.inf:
        assert all(table.values.isfinite().all() for table in posterior.variables.values())
        return
    for variable in domain.variables:
        table = posterior.variables[variable.name]
        assert table.names == (*sorted(variable.plates), variable.name)
        for name, where in order:
            if name == variable.name:
                found = table.values[tuple(index for _, index in where)]
                torch.testing.assert_close(found, expected_marginal(joint, order, variable, where), **CLOSE)


@settings(max_examples=40, deadline=None)
@given(graphs())
def test_every_tables_weight_is_its_gradient(graph):
    tables, domain = graph
    tables = requiring_gradient(tables)
    try:
        posterior = marginalize([Table(t.values.detach(), t.names, t.plates) for t in tables], domain)
    except UnsupportedModelError:
        return
    total = joint_table(tables, domain)[0].flatten().logsumexp(0)
    if total.item() == -math.inf:
        return
    weights = torch.autograd.grad(total, [table.values for table in tables], materialize_grads=True)
    for one, other in zip(posterior.tables, weights, strict=True):
        torch.testing.assert_close(one, other, **CLOSE)
        assert not one.requires_grad


def test_probabilities_can_be_differentiated():
    def probability(prior, likelihood):
        tables = [Table(prior, ("z",)), Table(likelihood, ("z", "x", "data"), frozenset({"data"}))]
        domain = Domain.of(tables, {"z": 2, "x": 3}, {"data": 2})
        return marginalize(tables, domain, ["x"]).variables["x"].values[..., 0]

    inputs = (torch.randn(2, dtype=torch.float64), torch.randn(2, 3, 2, dtype=torch.float64))
    assert torch.autograd.gradcheck(probability, [each.requires_grad_() for each in inputs])


def test_a_table_used_twice_counts_each_use():
    values = torch.randn(2, dtype=torch.float64, requires_grad=True)
    tables = [Table(values, ("a",)), Table(values * 2, ("b",)), Table(torch.zeros(2, 2), ("a", "b"))]
    tables[2] = Table(tables[2].values.double(), ("a", "b"))
    found = marginalize(tables, Domain.of(tables, {"a": 2, "b": 2})).variables
    torch.testing.assert_close(found["a"].values, values.softmax(0))
    torch.testing.assert_close(found["b"].values, (values * 2).softmax(0))


def test_a_variable_without_a_table_of_its_own():
    domain = Domain((Variable("z", 4, frozenset({"data"})),), (("data", 2),))
    repeated = Table(torch.tensor([0.0, 1.0, 2.0, 3.0], dtype=torch.float64), ("z",), frozenset({"data"}))
    found = marginalize([repeated], domain).variables["z"].values
    torch.testing.assert_close(found, repeated.values.softmax(0).expand(2, 4))
    torch.testing.assert_close(marginalize([], domain).variables["z"].values, torch.full((2, 4), 0.25))


def test_a_kept_plate_has_a_total_for_each_element():
    tables = [Table(torch.randn(3, 2, dtype=torch.float64), ("data", "z"), frozenset({"data"}))]
    domain = Domain.of(tables, {"z": 2}, {"data": 3})
    posterior = marginalize(tables, domain, kept=("data",))
    torch.testing.assert_close(posterior.total, tables[0].values.logsumexp(1))
    torch.testing.assert_close(posterior.variables["z"].values, tables[0].values.softmax(1))


def test_a_weighted_sum_drops_what_has_no_weight():
    """SEMANTICS 24: an infinite cost of an impossible value, in value and in both gradients."""
    weights = torch.tensor([0.25, 0.75, 0.0], dtype=torch.float64, requires_grad=True)
    values = torch.tensor([1.0, 2.0, -math.inf], dtype=torch.float64, requires_grad=True)
    total = weighted_sum(weights, values)
    assert total.item() == 1.75
    by_weight, by_value = torch.autograd.grad(total, (weights, values))
    torch.testing.assert_close(by_weight, torch.tensor([1.0, 2.0, 0.0], dtype=torch.float64))
    torch.testing.assert_close(by_value, torch.tensor([0.25, 0.75, 0.0], dtype=torch.float64))


def test_a_narrow_table_does_not_narrow_the_answer():
    """A table of zeros in float32, as a hidden site gives it, may stand first, or be the only one over a variable."""
    wide = Table(torch.tensor([0.1, 0.9], dtype=torch.float64).log(), ("a",))
    pair = Table(torch.full((2, 40), 0.25, dtype=torch.float64).log(), ("a", "b"))
    matrix = Table(torch.zeros(40, 40, 2), ("b", "c", "a"))
    narrow = [Table(torch.zeros(2), ("a",)), Table(torch.zeros(40), ("b",)), matrix]
    tables = [*narrow, wide, pair]
    found = marginalize(tables, Domain.of(tables, {"a": 2, "b": 40, "c": 40}))
    assert found.total.dtype == torch.float64
    torch.testing.assert_close(found.variables["a"].values, wide.values.exp(), rtol=1e-15, atol=1e-15)
    assert all(table.values.dtype == torch.float64 for table in found.variables.values())
