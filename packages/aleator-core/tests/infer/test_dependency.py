"""Dependence found by watching operations: nothing is lost, and nothing is invented where it matters."""

from __future__ import annotations

import pytest
import torch

from aleator.infer.dependency import DependencyTracker


class Double(torch.autograd.Function):
    """A custom function: what its forward does inside is seen as well."""

    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, grad):
        return grad * 2


OPERATIONS = {
    "arithmetic": lambda a, b: a + 1,
    "indexing": lambda a, b: a[1],
    "gather": lambda a, b: torch.gather(a, 0, torch.tensor([0])),
    "as an index": lambda a, b: torch.arange(9.0)[a.long()],
    "where condition": lambda a, b: torch.where(a > 0, 1.0, 2.0),
    "cat": lambda a, b: torch.cat([torch.ones(1), a]),
    "stack": lambda a, b: torch.stack([a, torch.ones(2)]),
    "matmul": lambda a, b: a @ torch.ones(2),
    "reshape": lambda a, b: a.reshape(2, 1).expand(2, 3),
    "in place": lambda a, b: torch.zeros(2).add_(a),
    "setitem": lambda a, b: _written(a),
    "through a view": lambda a, b: _written_view(a),
    "out=": lambda a, b: torch.exp(a, out=torch.empty(2)),
    "module": lambda a, b: torch.nn.Linear(2, 1)(a),
    "custom function": lambda a, b: Double.apply(a),
    "gradient": lambda a, b: _gradient(a),
    "draw": lambda a, b: torch.bernoulli(torch.sigmoid(a)),
    "pathwise draw": lambda a, b: torch.distributions.Normal(a, 1.0).rsample(),
    "factory like": lambda a, b: a.new_tensor([1.0]) + a.sum(),
    "foreach": lambda a, b: torch._foreach_add([a, torch.ones(2)], 1.0)[0],
}


def _written(a):
    base = torch.zeros(3)
    base[0] = a[0]
    return base


def _written_view(a):
    base = torch.zeros(3)
    base[1:].copy_(a)
    return base.clone()


def _gradient(a):
    leaf = a.detach().requires_grad_()
    with torch.enable_grad():
        return torch.autograd.grad((leaf**2).sum(), leaf)[0]


@pytest.mark.parametrize("name", OPERATIONS)
def test_dependence_survives(name):
    a, b = torch.ones(2), torch.ones(2)
    with torch.no_grad(), DependencyTracker() as tracker:
        tracker.mark(a, ["a"])
        tracker.mark(b, ["b"])
        result = OPERATIONS[name](a, b)
        assert tracker.of(result) == {"a"}
        assert tracker.of(result.sum() + b.sum()) == {"a", "b"}


@pytest.mark.parametrize(
    "shape_only", [torch.zeros_like, lambda a: a.new_zeros(2), lambda a: torch.full((a.shape[0],), 3.0)]
)
def test_plain_shapes_are_not_host_reads(shape_only):
    a = torch.ones(2)
    with DependencyTracker() as tracker:
        tracker.mark(a, ["a"])
        shape_only(a)
        assert tracker.control == frozenset()


@pytest.mark.parametrize(
    "read",
    [
        bool,
        float,
        int,
        lambda a: a.item(),
        lambda a: a.tolist(),
        lambda a: [1, 2, 3][a.long()],
        lambda a: torch.equal(a, a),
        lambda a: torch.allclose(a, a),
        lambda a: len(a.reshape(1).nonzero()),
        lambda a: len(torch.ones(1)[a.reshape(1) > 0]),
        lambda a: len(a.reshape(1).unique()),
        lambda a: len(torch.masked_select(torch.ones(1), a.reshape(1) > 0)),
    ],
    ids=["bool", "float", "int", "item", "tolist", "index", "equal", "allclose", "nonzero", "rows", "unique", "select"],
)
def test_host_read_steers_everything_after_it(read):
    """Peers cannot see control flow on values; here every read is one."""
    a, other = torch.tensor(1.0), torch.tensor(1.0)
    with DependencyTracker() as tracker:
        tracker.mark(a, ["a"])
        assert tracker.of(other) == frozenset()
        read(a)
        assert tracker.of(other) == {"a"}


def test_indexing_by_numbers_is_no_host_read():
    """SEMANTICS 11: how many rows come out is known beforehand, so nothing but the rows depends on the index."""
    a = torch.tensor([0.0, 1.0])
    with DependencyTracker() as tracker:
        tracker.mark(a, ["a"])
        rows = torch.arange(9.0)[a.long()]
        assert tracker.of(rows) == {"a"}
        assert tracker.control == frozenset()


def test_looking_up_a_table_by_a_drawn_number_steers_nothing_else():
    """``table[z]`` with z without dims is read by torch as a number; only what was looked up depends on z."""
    table = torch.rand(3, 3)
    with DependencyTracker() as tracker:
        a = tracker.begin(torch.tensor(1), "a")
        row = table[a]
        b = tracker.begin(torch.tensor(2), "b")
        cell = table[b, a.long()] + row.sum()
        assert tracker.of(row) == {"a"}
        assert tracker.of(cell) == {"a", "b"}
        assert tracker.of(table) == tracker.control == frozenset()
        assert tracker.of(torch.zeros(2)) == frozenset()


def test_nothing_is_watched_outside():
    a = torch.ones(2)
    tracker = DependencyTracker()
    with tracker:
        tracker.mark(a, ["a"])
    assert tracker.of(a + 1) == frozenset()


def test_random_programs_against_their_own_truth():
    """Builds random straight-line programs, and keeps the truth beside them."""
    generator = torch.Generator().manual_seed(0)

    def choose(n):
        return int(torch.randint(n, (), generator=generator))

    for _ in range(30):
        with DependencyTracker() as tracker:
            pool = []
            for index in range(4):
                tensor = torch.ones(3)
                tracker.mark(tensor, [f"s{index}"])
                pool.append((tensor, {f"s{index}"}))
            pool.append((torch.ones(3), set()))
            for _ in range(12):
                (x, dx), (y, dy) = pool[choose(len(pool))], pool[choose(len(pool))]
                kind = choose(4)
                if kind == 0:
                    pool.append((x + y, dx | dy))
                elif kind == 1:
                    pool.append((torch.where(x > 0, y, torch.zeros(3)), dx | dy))
                elif kind == 2:
                    pool.append((x[[0, 1, 2]] * 2, set(dx)))
                else:
                    fresh = torch.zeros(3)
                    fresh[1:] += y[1:]
                    pool.append((fresh, set(dy)))
            for tensor, truth in pool:
                assert tracker.of(tensor) == truth
