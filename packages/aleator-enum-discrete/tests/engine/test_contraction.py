"""Contraction of random graphs against all assignments written out (SEMANTICS 23, 26, 29, 31, 77)."""

import itertools
import math
import weakref

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aleator.errors import UnsupportedModelError
from aleator.ops import logsumexp
from aleator_enum_discrete.engine import elimination, execution
from aleator_enum_discrete.engine.contraction import components, contract, contract_all, plan_contraction
from aleator_enum_discrete.engine.elimination import find_plan
from aleator_enum_discrete.engine.semirings import LINEAR, LOG, MAX_PLUS
from aleator_enum_discrete.engine.tables import Domain, Table, Variable
from brute_force import at_element, joint_table
from random_graphs import graphs, requiring_gradient

CLOSE = {"rtol": 1e-12, "atol": 1e-12}


def attempt(tables, domain, *args, **kwargs):
    """Contract, or return ``None`` where the graph ties crossing plates together."""
    try:
        return contract(tables, domain, *args, **kwargs)
    except UnsupportedModelError as error:
        if "cross and are tied" not in str(error):
            raise
        return None


@settings(max_examples=150, deadline=None)
@given(graphs())
def test_value_and_gradient_of_the_log_sum(graph):
    tables, domain = graph
    tables = requiring_gradient(tables)
    total = attempt(tables, domain)
    if total is None:
        return
    joint, _ = joint_table(tables, domain)
    expected = logsumexp(joint.flatten(), 0)
    torch.testing.assert_close(total, expected, **CLOSE)
    inputs = [table.values for table in tables]
    ours = torch.autograd.grad(total, inputs, materialize_grads=True)
    theirs = torch.autograd.grad(expected, inputs, materialize_grads=True)
    possible = total.item() > -math.inf
    for one, other in zip(ours, theirs, strict=True):
        # Where nothing is possible there is no gradient to agree on, and still no NaN.
        torch.testing.assert_close(one, other if possible else one.nan_to_num(), **CLOSE)


@settings(max_examples=60, deadline=None)
@given(graphs(max_states=300))
def test_second_derivatives_of_the_log_sum(graph):
    tables, domain = graph
    tables = requiring_gradient(tables)
    total = attempt(tables, domain)
    if total is None:
        return
    expected = logsumexp(joint_table(tables, domain)[0].flatten(), 0)
    inputs = [table.values for table in tables]
    seconds = []
    for value in (total, expected):
        firsts = torch.autograd.grad(value, inputs, create_graph=True, materialize_grads=True)
        mixed = sum((first * torch.linspace(-1, 1, first.numel()).reshape(first.shape)).sum() for first in firsts)
        mixed = mixed + 0.0 * sum(each.masked_fill(each == -math.inf, 0.0).sum() for each in inputs)
        seconds.append(torch.autograd.grad(mixed, inputs, materialize_grads=True))
    possible = total.item() > -math.inf
    for one, other in zip(*seconds, strict=True):
        torch.testing.assert_close(one, other if possible else one.nan_to_num(), **CLOSE)


@settings(max_examples=60, deadline=None)
@given(graphs())
def test_linear_and_max_plus(graph):
    tables, domain = graph
    if attempt(tables, domain) is None:
        return
    joint, _ = joint_table(tables, domain)
    numbers = [Table(table.values.exp().requires_grad_(), table.names, table.plates) for table in tables]
    total = contract(numbers, domain, semiring=LINEAR)
    torch.testing.assert_close(total, joint.exp().sum(), rtol=1e-12, atol=1e-300)
    gradients = torch.autograd.grad(total, [table.values for table in numbers], materialize_grads=True)
    assert all(gradient.isfinite().all() for gradient in gradients)
    torch.testing.assert_close(contract(tables, domain, semiring=MAX_PLUS), joint.amax(), **CLOSE)


def test_gradient_of_a_linear_sum_at_zeros():
    tables = [Table(torch.tensor([0.0, 0.0, 0.5], dtype=torch.float64), ("data",), frozenset({"data"}))]
    tables.append(Table(torch.tensor([[0.0, 1.0], [2.0, 0.0], [0.0, 0.0]], dtype=torch.float64), ("data", "z")))
    tables[1] = Table(tables[1].values, tables[1].names, frozenset({"data"}))
    domain = Domain((Variable("z", 2, frozenset({"data"})),), (("data", 3),))

    def total(first, second):
        given = [Table(first, tables[0].names, tables[0].plates), Table(second, tables[1].names, tables[1].plates)]
        return contract(given, domain, semiring=LINEAR)

    inputs = [table.values.requires_grad_() for table in tables]
    assert torch.autograd.gradcheck(total, inputs)
    assert torch.autograd.gradgradcheck(total, inputs)


@settings(max_examples=60, deadline=None)
@given(graphs(), st.sampled_from([("a",), ("a", "b"), ("c",), ("c", "b", "a")]))
def test_a_kept_plate_repeats_everything(graph, kept):
    tables, domain = graph
    total = attempt(tables, domain, kept)
    if total is None:
        return
    sizes = domain.sizes()
    assert total.shape == tuple(sizes[name] for name in kept)
    for where in itertools.product(*(range(sizes[name]) for name in kept)):
        joint, _ = joint_table(*at_element(tables, domain, dict(zip(kept, where, strict=True))))
        torch.testing.assert_close(total[where], logsumexp(joint.flatten(), 0), **CLOSE)


@settings(max_examples=60, deadline=None)
@given(graphs(max_variables=5))
def test_several_outputs_over_variables(graph):
    tables, domain = graph
    if attempt(tables, domain) is None:
        return
    outside = [variable.name for variable in domain.variables if not variable.plates]
    outputs = [(), *((name,) for name in outside), tuple(outside[:2][::-1])]
    joint, order = joint_table(tables, domain)
    for output, found in zip(outputs, contract_all(tables, domain, outputs), strict=True):
        places = [order.index((name, ())) for name in output]
        others = [place for place in range(joint.dim()) if place not in places]
        expected = logsumexp(joint, tuple(others)) if others else joint
        remaining = sorted(places)
        expected = expected.permute([remaining.index(place) for place in places])
        torch.testing.assert_close(found, expected, **CLOSE)


def test_outputs_share_what_they_have_in_common():
    sizes = {"root": 3, **{f"leaf{i}": 5 for i in range(12)}}
    tables = [Table(torch.randn(3, 5), ("root", f"leaf{i}")) for i in range(12)]
    domain = Domain.of(tables, sizes)
    apart = [plan_contraction(tables, domain, [output]) for output in ((), ("root",))]
    together = plan_contraction(tables, domain, [(), ("root",), ()])
    assert len(together.steps) <= 1 + max(len(plan.steps) for plan in apart)
    assert together.results[0] == together.results[2]


def test_a_plan_is_found_once_for_a_structure():
    tables = [Table(torch.randn(3, 4), ("plan-a", "plan-b")), Table(torch.randn(4), ("plan-b",))]
    domain = Domain.of(tables, {"plan-a": 3, "plan-b": 4})
    before = find_plan.cache_info()
    contract(tables, domain)
    contract([Table(torch.randn(each.values.shape), each.names) for each in tables], domain)
    after = find_plan.cache_info()
    assert (after.misses - before.misses, after.hits - before.hits) == (1, 1)
    assert after.maxsize is not None


def test_the_order_of_tables_changes_nothing():
    """SEMANTICS 77."""
    generator = torch.Generator().manual_seed(0)
    names = [("a",), ("a", "b"), ("b", "data"), ("b", "c"), ("c", "a")]
    tables = [
        Table(
            torch.randn(3, *[3] * (len(each) - 1), dtype=torch.float64, generator=generator),
            each,
            frozenset({"data"}) & set(each),
        )
        for each in names
    ]
    domain = Domain.of(tables, {"a": 3, "b": 3, "c": 3}, {"data": 3})
    totals = [contract(order, domain) for order in itertools.permutations(tables)]
    torch.testing.assert_close(torch.stack(totals), totals[0].expand(len(totals)), **CLOSE)


def test_large_joins_go_by_matrices_and_are_exact():
    """Logarithms a thousand apart, and impossible states: nothing under- or overflows."""
    generator = torch.Generator().manual_seed(1)

    def table(*names):
        values = 400 * torch.randn([30] * len(names), dtype=torch.float64, generator=generator)
        return values.masked_fill(torch.rand(values.shape, generator=generator) < 0.2, -math.inf)

    for scale in (1.0, 1e-2):
        left, right = table("a", "b") * scale, table("b", "c") * scale
        left[3] = -math.inf
        left, right = left.requires_grad_(), right.requires_grad_()
        tables = [Table(left, ("a", "b")), Table(right, ("b", "c"))]
        domain = Domain.of(tables, {"a": 30, "b": 30, "c": 30})
        plan = plan_contraction(tables, domain, [("a", "c")])
        assert plan.steps[0].matrix is not None
        found = contract(tables, domain, ("a", "c"))
        expected = logsumexp(left.unsqueeze(-1) + right, 1)
        torch.testing.assert_close(found, expected, **CLOSE)
        weights = torch.randn(found.shape, dtype=torch.float64, generator=generator)
        sums = [(each.masked_fill(each == -math.inf, 0.0) * weights).sum() for each in (found, expected)]
        for one, other in zip(*(torch.autograd.grad(each, (left, right)) for each in sums), strict=True):
            torch.testing.assert_close(one, other, **CLOSE)


def test_a_table_without_variables_and_without_dims():
    tables = [
        Table(torch.tensor(0.5, dtype=torch.float64), (), frozenset({"data"})),
        Table(torch.tensor(2.0, dtype=torch.float64), ()),
        Table(torch.arange(4.0, dtype=torch.float64), ("data",), frozenset({"data"})),
    ]
    total = contract(tables, Domain((), (("data", 4),)))
    torch.testing.assert_close(total, torch.tensor(4 * 0.5 + 2.0 + 6.0, dtype=torch.float64))
    assert contract([], Domain(())).item() == 0.0


def test_a_variable_that_no_table_is_over_counts_its_values():
    domain = Domain((Variable("z", 3, frozenset({"data"})),), (("data", 4),))
    assert contract([], domain).item() == pytest.approx(4 * math.log(3))
    assert contract([], domain, semiring=LINEAR).item() == pytest.approx(81)


def test_a_plate_of_size_one_and_values_that_repeat():
    """SEMANTICS 29, 31: an unexpanded table gives the answer of the expanded one."""
    prior = Table(torch.tensor([0.3, 0.7], dtype=torch.float64).log(), ("z",), frozenset({"one", "data"}))
    likelihood = torch.randn(2, 5, 1, dtype=torch.float64)
    narrow = Table.from_dims(likelihood, {-3: "z", -2: "data"}, ["one", "data"])
    wide = Table(likelihood, ("z", "data", "one"), frozenset({"one", "data"}))
    domain = Domain((Variable("z", 2, frozenset({"one", "data"})),), (("one", 1), ("data", 5)))
    expected = logsumexp(prior.values + likelihood[..., 0].T, 1).sum()
    for table in (narrow, wide):
        torch.testing.assert_close(contract([prior, table], domain), expected, **CLOSE)


def test_crossing_plates_that_variables_tie_are_refused_by_name():
    """SEMANTICS 31."""
    tables = [Table(torch.zeros(2, 2, 3, 4), ("x", "y", "rows", "columns"), frozenset({"rows", "columns"}))]
    domain = Domain(
        (Variable("x", 2, frozenset({"rows"})), Variable("y", 2, frozenset({"columns"}))), (("rows", 3), ("columns", 4))
    )
    with pytest.raises(UnsupportedModelError, match=r"plates 'columns', 'rows' cross .* \('x' in 'rows', 'y' in 'colu"):
        contract(tables, domain)
    # With one of the plates kept, or one variable global, there is an order.
    assert contract(tables, domain, ("rows",)).shape == (3,)


def test_crossing_plates_around_global_variables_are_fine():
    generator = torch.Generator().manual_seed(2)
    x = Table(torch.randn(2, dtype=torch.float64, generator=generator), ("x",))
    y = Table(torch.randn(2, 2, 3, dtype=torch.float64, generator=generator), ("x", "y", "rows"), frozenset({"rows"}))
    z = Table(
        torch.randn(2, 3, 4, dtype=torch.float64, generator=generator),
        ("x", "rows", "columns"),
        frozenset({"rows", "columns"}),
    )
    domain = Domain.of([x, y, z], {"x": 2, "y": 2}, {"rows": 3, "columns": 4})
    joint, _ = joint_table([x, y, z], domain)
    torch.testing.assert_close(contract([x, y, z], domain), logsumexp(joint.flatten(), 0), **CLOSE)


def test_what_is_outside_a_plate_may_not_depend_on_what_is_inside():
    """SEMANTICS 23."""
    domain = Domain((Variable("z", 2, frozenset({"data"})),), (("data", 3),))
    inside = Table(torch.zeros(2, 3), ("z", "data"), frozenset({"data"}))
    with pytest.raises(UnsupportedModelError, match="depends on 'z', which is inside 'data'"):
        contract([inside, Table(torch.zeros(2), ("z",))], domain)
    with pytest.raises(UnsupportedModelError, match="depends on 'data'"):
        contract([Table(torch.zeros(3), ("data",))], domain)


def test_names_and_sizes_are_checked():
    domain = Domain((Variable("z", 2),), (("data", 3),))
    with pytest.raises(ValueError, match="'z' has size 2 in the domain and 5 in the table"):
        contract([Table(torch.zeros(5), ("z",))], domain)
    with pytest.raises(ValueError, match="has the name 'y', which is neither"):
        contract([Table(torch.zeros(5), ("y",))], domain)
    with pytest.raises(ValueError, match="one name for each dim"):
        contract([Table(torch.zeros(2, 2), ("z",))], domain)
    with pytest.raises(ValueError, match="keeps 'q'"):
        contract([Table(torch.zeros(2), ("z",))], domain, ("q",))
    inside = Domain((Variable("z", 2, frozenset({"data"})),), (("data", 3),))
    with pytest.raises(ValueError, match="keeps the variable 'z' and not its plates 'data'"):
        contract([Table(torch.zeros(2, 3), ("z", "data"), frozenset({"data"}))], inside, ("z",))
    with pytest.raises(ValueError, match="'z' stands for two"):
        contract([], Domain((Variable("z", 2),), (("z", 2),)))


def test_a_plan_above_its_budget_is_refused_with_the_variables_of_its_largest_table():
    sizes = {f"x{i}": 10 for i in range(6)}
    tables = [Table(torch.zeros(10, 10), pair) for pair in itertools.combinations(sizes, 2)]
    domain = Domain.of(tables, sizes)
    plan = plan_contraction(tables, domain)
    assert plan.cost.largest == 10**4
    with pytest.raises(UnsupportedModelError, match=r"more than its budget of 64 KiB; .* is over 'x\d' \(10\)"):
        contract(tables, domain, memory_budget=1 << 16)
    assert contract(tables, domain, memory_budget=plan.cost.peak * 4).item() == pytest.approx(
        6 * math.log(10), rel=1e-5
    )


def test_the_cost_of_a_tree_is_linear():
    costs = []
    for count in (50, 100):
        tables = [Table(torch.zeros(3, 3), (f"v{i}", f"v{i // 2}")) for i in range(1, count)]
        domain = Domain.of(tables, {f"v{i}": 3 for i in range(count)})
        costs.append(plan_contraction(tables, domain).cost)
    assert costs[1].multiplications < 2.2 * costs[0].multiplications
    assert costs[1].largest <= 27


def test_components_are_tied_by_variables():
    """SEMANTICS 26: a table that touches no variable stands alone."""
    plate = frozenset({"data"})
    tables = [
        Table(torch.zeros(2), ("x",)),
        Table(torch.zeros(2, 5), ("x", "data"), plate),
        Table(torch.zeros(2, 5), ("y", "data"), plate),
        Table(torch.zeros(5), ("data",), plate),
        Table(torch.zeros(3, 5), ("y2", "data"), plate),
    ]
    domain = Domain.of(tables, {"x": 2, "y": 2, "y2": 3}, {"data": 5})
    parts = components(tables, domain)
    assert [(part.tables, part.variables, set(part.plates)) for part in parts] == [
        ((0, 1), ("x",), set()),
        ((2,), ("y",), {"data"}),
        ((3,), (), {"data"}),
        ((4,), ("y2",), {"data"}),
    ]


def test_a_long_chain_is_one_step_and_equals_pair_by_pair():
    generator = torch.Generator().manual_seed(3)
    tables, sizes = [], {}
    for i in range(30):
        sizes[f"x{i}"] = 4
        tables.append(
            Table(torch.randn(4, 6, dtype=torch.float64, generator=generator), (f"x{i}", "data"), frozenset({"data"}))
        )
        if i:
            pair = torch.randn(4, 4, dtype=torch.float64, generator=generator)
            tables.append(Table(pair, (f"x{i}", f"x{i - 1}"), frozenset({"data"})))
    domain = Domain.of(tables, sizes, {"data": 6})
    assert len(plan_contraction(tables, domain).steps) == 2
    assert len(plan_contraction(tables, domain, chains=False).steps) > 50
    tables = requiring_gradient(tables)
    values = [
        contract(tables, domain),
        contract([Table(t.values.exp(), t.names, t.plates) for t in tables], domain, semiring=LINEAR).log(),
    ]
    torch.testing.assert_close(*values, **CLOSE)
    inputs = [table.values for table in tables]
    for one, other in zip(*(torch.autograd.grad(value, inputs) for value in values), strict=True):
        torch.testing.assert_close(one, other, **CLOSE)


def test_float32_stays_float32():
    tables = [Table(torch.randn(3, 3), ("a", "b"))]
    assert contract(tables, Domain.of(tables, {"a": 3, "b": 3}), semiring=LOG).dtype == torch.float32


def test_kept_variables_tie_no_component():
    """SEMANTICS 27: what the guide enumerates stays a dim of the model's components."""
    plate = frozenset({"data"})
    tables = [
        Table(torch.zeros(2), ("guide",)),
        Table(torch.zeros(2, 3), ("guide", "x")),
        Table(torch.zeros(2, 4, 5), ("guide", "y", "data"), plate),
    ]
    domain = Domain.of(tables, {"guide": 2, "x": 3, "y": 4}, {"data": 5})
    parts = components(tables, domain, ["guide"])
    assert [(part.tables, part.variables, part.output) for part in parts] == [
        ((0,), (), ("guide",)),
        ((1,), ("x",), ("guide",)),
        ((2,), ("y",), ("data", "guide")),
    ]
    summed = [
        contract([tables[place] for place in part.tables], domain.only((*part.variables, *part.kept)), part.output)
        for part in parts
    ]
    assert [each.shape for each in summed] == [(2,), (2,), (5, 2)]


@settings(max_examples=100, deadline=None)
@given(graphs())
def test_every_join_by_matrices_and_every_line_as_a_chain(graph):
    """Small graphs seldom reach the sizes at which these pay: here they are taken wherever they can be."""
    tables, domain = graph
    tables = requiring_gradient(tables)
    joint, _ = joint_table(tables, domain)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {"MATRIX_SIZE": 0, "MATRIX_GAIN": 0, "CHAIN_LENGTH": 2}.items():
            patch.setattr(elimination, name, value)
        find_plan.cache_clear()
        try:
            total = attempt(tables, domain)
            largest = attempt(tables, domain, semiring=MAX_PLUS)
        finally:
            find_plan.cache_clear()
    if total is None:
        return
    expected = logsumexp(joint.flatten(), 0)
    torch.testing.assert_close(total, expected, **CLOSE)
    torch.testing.assert_close(largest, joint.amax(), **CLOSE)
    inputs = [table.values for table in tables]
    ours, theirs = (torch.autograd.grad(each, inputs, materialize_grads=True) for each in (total, expected))
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other if total.item() > -math.inf else one.nan_to_num(), **CLOSE)


def test_what_is_not_needed_any_more_is_dropped_without_a_gradient(monkeypatch):
    """Its budget is then that of the peak; with a gradient everything is kept, and the budget says so."""
    tables = [Table(torch.zeros(9, 9, 5), (f"x{i}", f"x{i + 1}", f"y{i}")) for i in range(20)]
    domain = Domain.of(tables, {**{f"x{i}": 9 for i in range(21)}, **{f"y{i}": 5 for i in range(20)}})
    cost = plan_contraction(tables, domain).cost
    assert cost.peak < cost.held < cost.saved
    made, alive = [], []
    join = execution._join

    def watched(*args):
        made.append(weakref.ref(result := join(*args)))
        alive.append(sum(each() is not None for each in made))
        return result

    monkeypatch.setattr(execution, "_join", watched)
    for grad, most in ((False, 4), (True, len(plan_contraction(tables, domain).steps))):
        made.clear()
        alive.clear()
        given = requiring_gradient(tables) if grad else tables
        budget = 4 * (cost.saved if grad else cost.peak)
        with pytest.raises(UnsupportedModelError, match="more than its budget"):
            contract(given, domain, memory_budget=budget - 1)
        contract(given, domain, memory_budget=budget)
        assert max(alive) <= most
    assert max(alive) == most
