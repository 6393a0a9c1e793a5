"""The joint maximum and joint draws against all assignments written out (SEMANTICS 40, 43)."""

import itertools
import math

import pytest
import torch
from hypothesis import given, settings

from aleator import rng
from aleator.errors import UnsupportedModelError
from aleator_enum_discrete.engine.assignments import draw_jointly, maximize
from aleator_enum_discrete.engine.marginals import marginalize
from aleator_enum_discrete.engine.tables import Domain, Table, Variable
from brute_force import at_element, copies, joint_table
from frequencies import chi_square, joint_counts
from random_graphs import graphs, requiring_gradient


def at_copies(assignment, order):
    """The value of each copy of each variable, samples first where there are several."""
    found = []
    for name, where in order:
        table = assignment.values[name]
        index = dict(where)
        found.append(table.values[tuple(index.get(each, slice(None)) for each in table.names)])
    return found


@settings(max_examples=120, deadline=None)
@given(graphs())
def test_the_maximum_is_the_largest_of_all_assignments(graph):
    tables, domain = graph
    try:
        found = maximize(tables, domain)
    except UnsupportedModelError:
        return
    joint, order = joint_table(tables, domain)
    torch.testing.assert_close(found.total, joint.amax(), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(joint[tuple(at_copies(found, order))], joint.amax(), rtol=1e-12, atol=1e-12)
    if joint.amax() > -math.inf and (joint > joint.amax() - 1e-9).sum() == 1:
        expected = torch.unravel_index(joint.argmax(), joint.shape)
        assert [each.item() for each in at_copies(found, order)] == [each.item() for each in expected]
    for variable in domain.variables:
        assert found.values[variable.name].names == tuple(sorted(variable.plates))


@settings(max_examples=40, deadline=None)
@given(graphs(zeros=False))
def test_the_gradient_of_the_maximum_is_that_of_its_terms(graph):
    tables, domain = graph
    tables = requiring_gradient(tables)
    try:
        total = maximize(tables, domain).total
    except UnsupportedModelError:
        return
    joint, _ = joint_table(tables, domain)
    inputs = [table.values for table in tables]
    ours = torch.autograd.grad(total, inputs, materialize_grads=True)
    theirs = torch.autograd.grad(joint.flatten().max(0).values, inputs, materialize_grads=True)
    for one, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(one, other)


def test_of_equal_maxima_the_first_index_is_taken():
    """SEMANTICS 40, pinned: also in a chain and in a join of several variables."""
    alone = Table(torch.tensor([0.0, 1.0, 1.0, 0.5]), ("a",))
    assert maximize([alone], Domain.of([alone], {"a": 4})).values["a"].values.item() == 1
    pair = Table(torch.zeros(3, 3), ("a", "b"))
    found = maximize([pair], Domain.of([pair], {"a": 3, "b": 3})).values
    assert (found["a"].values.item(), found["b"].values.item()) == (0, 0)
    chain = [Table(torch.zeros(2, 2), (f"x{i}", f"x{i + 1}")) for i in range(6)]
    found = maximize(chain, Domain.of(chain, {f"x{i}": 2 for i in range(7)})).values
    assert all(each.values.item() == 0 for each in found.values())


def test_the_joint_maximum_is_not_that_of_each_variable():
    pair = Table(torch.tensor([[0.4, 0.0], [0.3, 0.3]]).log(), ("a", "b"))
    domain = Domain.of([pair], {"a": 2, "b": 2})
    assert marginalize([pair], domain).variables["a"].values.argmax().item() == 1
    assert maximize([pair], domain).values["a"].values.item() == 0


def independent_draws(tables, domain, num_samples):
    """The broken twin: every variable by itself, from its own marginal."""
    marginals = marginalize(tables, domain).variables
    found = {}
    for name, table in marginals.items():
        drawn = torch.distributions.Categorical(table.values).sample((num_samples,))
        found[name] = Table(drawn, ("(sample)", *table.names[:-1]))
    return found


def problems():
    generator = torch.Generator().manual_seed(5)

    def table(names, sizes, plates=()):
        values = 2 * torch.randn([sizes[name] for name in names], dtype=torch.float64, generator=generator)
        return Table(values, names, frozenset(plates))

    sizes = {"z": 3, "x": 2, "y": 2, "data": 2, "inner": 2}
    plated = [
        table(("z",), sizes),
        table(("x", "z", "data"), sizes, ["data"]),
        table(("x", "y", "data", "inner"), sizes, ["data", "inner"]),
    ]
    yield "plates", plated, Domain.of(plated, {"z": 3, "x": 2, "y": 2}, {"data": 2, "inner": 2})
    repeated = [table(("z",), sizes), table(("z", "x"), sizes, ["data"])]
    yield "repeated", repeated, Domain.of(repeated, {"z": 3, "x": 2}, {"data": 2})
    names = {f"x{i}": 2 for i in range(6)}
    chain = [table((f"x{i}", f"x{i + 1}"), names) for i in range(5)]
    yield "chain", chain, Domain.of(chain, names)
    given = {**names, "w": 2}
    under = [*(table(("w", f"x{i}", f"x{i + 1}"), given, ["data"]) for i in range(3)), table(("w",), given)]
    under_sizes = {"w": 2, **{f"x{i}": 2 for i in range(4)}}
    yield "chain in a plate under a variable", under, Domain.of(under, under_sizes, {"data": 2})
    loop = [table((f"x{i}", f"x{(i + 1) % 4}"), names) for i in range(4)]
    yield "loop", loop, Domain.of(loop, {f"x{i}": 2 for i in range(4)})


@pytest.mark.parametrize(("tables", "domain"), [pytest.param(*each[1:], id=each[0]) for each in problems()])
def test_draws_have_the_joint_frequencies_of_the_posterior(tables, domain):
    """SEMANTICS 43: the joint distribution, plates and globals included; single marginals alone must not pass."""
    joint, order = joint_table(tables, domain)
    with rng(11):
        drawn = draw_jointly(tables, domain, 20_000)
    torch.testing.assert_close(drawn.total, joint.flatten().logsumexp(0), rtol=1e-12, atol=1e-12)
    counts = joint_counts(at_copies(drawn, order), order, joint.shape)
    statistic, bound = chi_square(counts, joint.flatten().softmax(0))
    assert statistic < bound
    torch.manual_seed(11)

    class Twin:
        values = independent_draws(tables, domain, 20_000)

    counts = joint_counts(at_copies(Twin, order), order, joint.shape)
    statistic, bound = chi_square(counts, joint.flatten().softmax(0))
    assert statistic > 2 * bound


def test_one_draw_has_no_dim_of_samples_and_many_one():
    tables, domain = next(each[1:] for each in problems())
    one, many = draw_jointly(tables, domain), draw_jointly(tables, domain, 7)
    assert one.values["y"].names == ("data", "inner")
    assert one.values["z"].values.shape == ()
    assert many.values["y"].names == ("(sample)", "data", "inner")
    assert many.values["y"].values.shape == (7, 2, 2)
    assert many.values["z"].values.shape == (7,)


def test_impossible_values_are_never_drawn():
    same = [Table(torch.eye(4, dtype=torch.float64).log(), (f"x{i}", f"x{i + 1}")) for i in range(3)]
    same.append(Table(torch.tensor([0.0, -math.inf, 0.0, -math.inf], dtype=torch.float64), ("x2",)))
    drawn = draw_jointly(same, Domain.of(same, {f"x{i}": 4 for i in range(4)}), 500).values
    first = drawn["x0"].values
    assert set(first.tolist()) == {0, 2}
    assert all((each.values == first).all() for each in drawn.values())


@settings(max_examples=40, deadline=None)
@given(graphs())
def test_a_kept_plate_has_an_assignment_of_its_own(graph):
    tables, domain = graph
    try:
        found = maximize(tables, domain, ("a",))
        drawn = draw_jointly(tables, domain, 3, ("a",))
    except UnsupportedModelError:
        return
    for where in range(domain.sizes()["a"]):
        fixed, inside = at_element(tables, domain, {"a": where})
        joint, order = joint_table(fixed, inside)
        for assignment in (found, drawn):
            values = [
                assignment.values[name].values.movedim(assignment.values[name].names.index("a"), 0)[where]
                for name, _ in order
            ]
            names = [tuple(each for each in assignment.values[name].names if each != "a") for name, _ in order]
            values = [
                value[tuple(dict(at).get(each, slice(None)) for each in layout)]
                for value, layout, (_, at) in zip(values, names, order, strict=True)
            ]
            scores = joint[tuple(values)]
            if joint.amax() > -math.inf:
                assert (scores > -math.inf).all()
            if assignment is found:
                torch.testing.assert_close(scores, joint.amax(), rtol=1e-12, atol=1e-12)


def test_the_work_of_a_draw_is_linear_in_the_variables():
    def reads(count):
        tables = [
            Table(torch.randn(3, 3, 2), (f"v{i}", f"v{i // 2}", "data"), frozenset({"data"})) for i in range(1, count)
        ]
        domain = Domain.of(tables, {f"v{i}": 3 for i in range(count)}, {"data": 2})
        from torch.utils._python_dispatch import TorchDispatchMode

        class Count(TorchDispatchMode):
            seen = 0

            def __torch_dispatch__(self, func, types, args=(), kwargs=None):
                Count.seen += 1
                return func(*args, **(kwargs or {}))

        with Count():
            draw_jointly(tables, domain)
        return Count.seen

    assert reads(80) < 2.2 * reads(40)


def test_a_kept_variable_is_refused():
    table = Table(torch.zeros(2), ("z",))
    with pytest.raises(ValueError, match="only plates are kept, found the variable 'z'"):
        maximize([table], Domain.of([table], {"z": 2}), ("z",))


def test_no_tables_and_copies():
    domain = Domain((Variable("z", 3, frozenset({"data"})),), (("data", 50),))
    drawn = draw_jointly([], domain).values["z"]
    assert drawn.values.shape == (50,)
    assert set(drawn.values.tolist()) == {0, 1, 2}
    assert len(copies(domain)) == 50
    assert list(itertools.islice(problems(), 0)) == []
